{
  'targets': [
    {
      'target_name': 'vtepd',
      'sources': ['vtepd.c', 'values.c', 'netlink.c', 'request.c', 'monitor.c', 'systemd.c', 'lock.c', 'capabilities.c', 'program.c', 'threads.c', 'answers.c'],
      'defines': ['NAPI_VERSION=8', '_GNU_SOURCE'],
      'cflags': ['-std=gnu11', '-Wall', '-Wextra', '-Wno-unused-parameter', '-fvisibility=hidden'],
      # node-gyp links with g++; plain C needs nothing of the C++ runtime.
      'ldflags': ['-Wl,--as-needed'],
    },
  ],
}

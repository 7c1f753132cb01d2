{
  'targets': [
    {
      'target_name': 'vtepd',
      'sources': ['vtepd.c', 'values.c', 'netlink.c', 'request.c', 'monitor.c', 'systemd.c', 'lock.c', 'capabilities.c', 'program.c', 'threads.c', 'answers.c'],
      'defines': ['NAPI_VERSION=8', '_GNU_SOURCE'],
      'cflags': ['-std=gnu11', '-Wall', '-Wextra', '-Wno-unused-parameter', '-fvisibility=hidden',
        # What Debian's dpkg-buildflags hardens with: it reads what peers and other programs wrote. A distribution may have set the first already.
        '-U_FORTIFY_SOURCE', '-D_FORTIFY_SOURCE=2', '-fstack-protector-strong', '-fstack-clash-protection', '-Wformat', '-Werror=format-security'],
      # node-gyp links with g++; plain C needs nothing of the C++ runtime.
      'ldflags': ['-Wl,--as-needed', '-Wl,-z,relro', '-Wl,-z,now', '-Wl,-z,noexecstack'],
    },
  ],
}

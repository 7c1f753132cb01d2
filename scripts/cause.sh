# Sourced: why an installation failed, in words. Each cause is a pattern for what apt-get or npm said, and a sentence with what to do. The first that fits counts.
CAUSES=(
  'ENOSPC|EDQUOT|No space left on device|Disk quota exceeded|enough free space'
  'the disk is full. Make room (df -h shows where), and run this again'

  'Could not get lock|Unable to acquire the dpkg'
  'another program is installing Debian packages. Wait until it has finished, and run this again'

  'dpkg was interrupted|dpkg --configure -a'
  'an earlier installation of Debian packages was interrupted. Run: dpkg --configure -a'

  'CERT_HAS_EXPIRED|CERT_NOT_YET_VALID|certificate has expired|certificate is not yet valid|not valid yet|Release file .* expired'
  'a certificate or a list of packages is not valid at this time. Is the clock of this machine right? (date)'

  'UNABLE_TO_[A-Z_]*(CERT|ISSUER|SIGNATURE)|SELF_SIGNED_CERT|DEPTH_ZERO_SELF|ERR_TLS_CERT|CERT_[A-Z]+|[Cc]ertificate verification failed|self[- ]signed certificate'
  'a certificate on the way is not trusted, as behind a proxy that opens TLS. Name the file of its CA: NODE_EXTRA_CA_CERTS=FILE, or npm config set cafile FILE; for apt-get put it into /usr/local/share/ca-certificates and run update-ca-certificates'

  'ERR_SSL|ERR_OSSL|EPROTO|wrong version number|packet length too long'
  'what answers does not speak TLS as expected. Is the address of the proxy or of the registry right, with http:// and https:// where they belong? (npm config list)'

  'EINVALIDPROXY|[Ii]nvalid proxy|Unsupported proxy|ERR_INVALID_URL|ERR_INVALID_PROTOCOL|[Ii]nvalid URL'
  'the address of the proxy or of the registry is none. See npm config list, and http_proxy and https_proxy in the environment'

  'code E407|Proxy Authentication Required|[sS]tatus ?[cC]ode[=: ]+407'
  'the proxy asks for a login. Write it into https_proxy (http://USER:PASSWORD@HOST:PORT)'

  'ENOTFOUND|EAI_AGAIN|EAI_FAIL|getaddrinfo|Temporary failure resolving|Could not resolve'
  'a name is not resolved. Is there a name server, and is the name of the registry or of the proxy right?'

  'ECONNREFUSED|Connection refused'
  'nobody listens at the address of the registry or of the proxy. Is it right, and does this network need another proxy? (npm config list; https_proxy; for apt-get: apt-config dump Acquire)'

  'ETIMEDOUT|ERR_SOCKET_TIMEOUT|ESOCKETTIMEDOUT|EIDLETIMEOUT|ENETUNREACH|EHOSTUNREACH|ENETDOWN|timed out|network timeout|Network is unreachable|No route to host|Could not connect'
  'the registry or the proxy cannot be reached. Is there a way to the Internet, and does this network need a proxy? (https_proxy)'

  'ECONNRESET|ERR_STREAM_PREMATURE_CLOSE|socket hang up|Connection reset|Connection failed|Premature close'
  'the connection was cut while it was in use. A firewall or a proxy on the way may do that; run this again when it lets npm or apt-get through'

  'code E40[13]|ENEEDAUTH|40[13] +(Unauthorized|Forbidden)'
  'the registry or the proxy refuses us. Is a login needed (npm login), or does this network have a registry of its own (npm config set registry)?'

  'code E429|Too Many Requests'
  'the registry has had too many requests from this address. Run this again later'

  'code E5[0-9][0-9]|50[0-9] +(Internal|Bad|Service|Gateway)'
  'the registry or the proxy has a fault of its own. Run this again later, or with another registry'

  'EJSONPARSE|FetchError: invalid json|invalid json response|Unexpected token|is not valid JSON'
  'what answers is no registry: perhaps the login page of this network, or a proxy. (npm config get registry)'

  'EINTEGRITY|Hash Sum mismatch'
  'a package is not the one that it should be: damaged in a cache, or by the registry. Run npm cache clean --force (or apt-get clean), and run this again'

  'ENOTCACHED'
  'npm is told to work offline, and does not have the packages. Run: npm config delete offline'

  'code E404|ETARGET|ENOVERSIONS|No matching version'
  'the registry does not have a package. Is it the right one? (npm config get registry)'

  'Unable to locate package|has no installation candidate'
  'the sources of apt-get do not have a package. Is this Debian 12 or later, with the component main? (/etc/apt/sources.list, /etc/apt/sources.list.d)'

  'EROFS|Read-only file system|EACCES|permission denied|Permission denied|EPERM'
  'a file cannot be written. Is a file system read-only, or a directory not ours?'

  'ENOMEM|heap out of memory|Cannot allocate memory|(^|[^a-z])Killed'
  'there is not enough memory. Stop other programs, or add swap'
)

# cause_of TEXT: the cause, and in parentheses what showed it; nothing, and 1, if the text shows none.
cause_of() {
  local i
  for ((i = 0; i < ${#CAUSES[@]}; i += 2)); do
    if [[ $1 =~ ${CAUSES[i]} ]]; then
      printf '%s\n(%s)\n' "${CAUSES[i + 1]}" "$(evidence "$1" "${CAUSES[i]}")"
      return
    fi
  done
  return 1
}

# evidence TEXT PATTERN: the first line that says more than a code, without passwords.
evidence() {
  local line code=
  while IFS= read -r line; do
    [ "$code" ] || [[ $line =~ $2 ]] || continue
    # Of npm's lines, the first name codes alone; what they mean comes after them.
    [[ $line =~ ^'npm error '(code|errno|syscall|path|dest)' ' ]] || { code=$line; break; }
    code=${code:-$line}
  done < <(printf '%s\n' "$1")
  printf '%s' "${code:0:400}" | sed -E 's#//[^/@ ]*@#//***@#g; s#^(npm error( network| nospc)?|E:|Err:[0-9]+) *##'
}

# Installs one Debian package without letting it start a service or create a database cluster of the system's own: the
# chores use private servers only. What is written for that is taken away again. Argument: the package.
set -eu
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.d
setting=$clusters/squidmesh-no-main-cluster.conf
wrote_policy=''

finish() {
  [ -z "$wrote_policy" ] || rm -f "$policy"
  rm -f "$setting"
  rmdir "$clusters" /etc/postgresql-common 2>/dev/null || true
}
trap finish EXIT
trap 'exit 143' INT TERM HUP

if [ ! -e "$policy" ]; then
  wrote_policy=yes
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
mkdir -p "$clusters"
echo 'create_main_cluster = false' >"$setting"

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || echo "the package lists could not be renewed; trying with those at hand" >&2
apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "$1"

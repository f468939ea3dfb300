# Installs one Debian package, and keeps it from starting a service or creating a database cluster: the chores use
# private servers only. The settings written for this are removed at the end. Argument: the package.
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
apt-get update -qq || echo "the package lists could not be updated; trying with the existing ones" >&2
apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "$1"

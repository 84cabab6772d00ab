#!/bin/sh
# Installs a SLURM for the tests (Debian or Ubuntu, as root); nothing is started by it.
# Ends with 0 when the programs are there, with 3 when they are not and may not be installed.
set -u
missing=""
for program in munged mariadbd mariadb-install-db slurmdbd slurmctld slurmd sbatch; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing="$missing $program"
done
if [ "$(id -u)" != 0 ]; then
    echo "skipped: the SLURM tests need root to start the daemons" >&2
    exit 3
fi
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "skipped: no SLURM ($missing missing) and no apt-get to install it" >&2
    exit 3
fi
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    # Keeps the packages from starting services; removed again below.
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && ours=yes
fi
log=$(mktemp)
install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        slurm-wlm munge slurmdbd mariadb-server >"$log" 2>&1
}
install || { apt-get update >>"$log" 2>&1 && install; }
status=$?
[ "${ours:-no}" = yes ] && rm -f "$policy"
if [ "$status" != 0 ]; then
    echo "skipped: SLURM could not be installed; apt-get said:" >&2
    tail -5 "$log" >&2
    rm -f "$log"
    exit 3
fi
rm -f "$log"

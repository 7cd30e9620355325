# Keeps one private PostgreSQL server, and takes it away when standard input ends, that is, with whoever started it.
#
# arguments: the server's programs, the folder to work in, lines for postgresql.conf, ports to try in turn
# reads:     `stop` and `start`, one a line
# writes:    `ready PORT`, then `stopped` and `started`, or `failed` and the server's own words on standard error
set -u
bin=$1 parent=$2 settings=$3
shift 3

# A Ctrl-C is for the tests. When they are gone, standard input ends.
trap '' HUP INT TERM

dir=$(mktemp -d "$parent/remgate-postgres.XXXXXX") || { echo failed; exit 1; }
cd "$dir" || { echo failed; exit 1; }
finish() {
    [ ! -f data/postmaster.pid ] || "$bin/pg_ctl" -D data -m immediate -w stop > /dev/null 2>&1
    cd / && rm -rf "$dir"
}
trap finish EXIT

"$bin/initdb" -D data -U remgate -A trust -E UTF8 --locale=C --no-sync --no-instructions > log 2>&1 || {
    cat log >&2
    echo failed
    exit 1
}
{
    echo "listen_addresses = '127.0.0.1'"
    echo "unix_socket_directories = ''"
    echo "max_connections = 300"
    echo "log_timezone = 'UTC'"
    echo "timezone = 'UTC'"
    printf '%s\n' "$settings"
} >> data/postgresql.conf

start() { "$bin/pg_ctl" -D data -l log -o "-p $1" -w start > /dev/null 2>&1 < /dev/null; }

port=
for candidate in "$@"; do
    if start "$candidate"; then port=$candidate; break; fi
done
[ -n "$port" ] || { cat log >&2; echo failed; exit 1; }
echo "ready $port"

while read -r command; do
    case $command in
        stop) "$bin/pg_ctl" -D data -m fast -w stop > /dev/null 2>&1 && echo stopped || { cat log >&2; echo failed; } ;;
        start) start "$port" && echo started || { cat log >&2; echo failed; } ;;
    esac
done

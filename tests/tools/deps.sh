#!/bin/sh
# Installs the Debian packages that are missing, after saying so.
#
# usage: deps.sh LIST...        LIST: build, test, bench
# Exit status 0: all are there now. Otherwise a message says which packages to install.
# Needs nothing but a POSIX shell, dpkg and apt-get; as an ordinary user also sudo.
set -u

packages_build='gcc libc6-dev make pkg-config libuv1-dev liblmdb-dev libc-ares-dev libinih-dev
	libssl-dev libidn2-dev zlib1g-dev'
# The versioned runtime is the one of Debian's default clang.
packages_test='libcmocka-dev clang libclang-rt-14-dev libconvert-asn1-perl asn1c nsd
	mandoc python3 openssl util-linux procps binutils'
# The peers of the measurements, and what makes network namespaces.
packages_bench='postfix dovecot-imapd dovecot-lmtpd python3 openssl iproute2 util-linux procps'

fail()
{
	echo "$0: $*" >&2
	exit 1
}

missing()
{
	for package in "$@"; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)
		[ "$status" = installed ] || printf ' %s' "$package"
	done
}

# Runs as root. A package that brings a service (nsd, postfix, dovecot) shall not start it here:
# the tests run their own on a loopback port. policy-rc.d is Debian's way to say so; one that the
# administrator has put there is left alone. Nothing that is installed gives way: a machine with
# another mail server keeps it, and cannot have postfix.
install_packages()
{
	export DEBIAN_FRONTEND=noninteractive
	policy=/usr/sbin/policy-rc.d
	made_policy=
	if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
		trap '[ -z "$made_policy" ] || rm -f "$policy"' EXIT
		trap 'exit 1' HUP INT TERM
		printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy" && made_policy=1
	fi
	case " $* " in
	*' postfix '*)
		echo 'postfix postfix/main_mailer_type select No configuration' |
			debconf-set-selections
		;;
	esac
	apt-get -q update &&
		apt-get -q install -y --no-install-recommends --no-remove "$@" || return 1
	# Nor at the next start of the machine.
	for package in "$@"; do
		case $package in
		nsd | postfix) services=$package.service ;;
		dovecot-*) services='dovecot.service dovecot.socket' ;;
		*) continue ;;
		esac
		if [ -d /run/systemd/system ]; then
			# shellcheck disable=SC2086 # a list of words
			systemctl disable $services >/dev/null 2>&1
		fi
	done
	return 0
}

if [ "${1-}" = --install ]; then
	shift
	install_packages "$@"
	exit
fi

wanted=
for list in "$@"; do
	case $list in
	build) wanted="$wanted $packages_build" ;;
	test) wanted="$wanted $packages_test" ;;
	bench) wanted="$wanted $packages_bench" ;;
	*) fail "unknown list: $list (build, test, bench)" ;;
	esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
	echo "$0: not a Debian system; needed are the equivalents of:" $wanted >&2
	exit 0
fi

# shellcheck disable=SC2086 # lists of words
need=$(missing $wanted)
[ -n "$need" ] || exit 0

echo "These Debian packages are missing and get installed now:$need"
if [ "$(id -u)" = 0 ]; then
	"$0" --install $need >&2
elif command -v sudo >/dev/null 2>&1; then
	sudo "$0" --install $need >&2
else
	false
fi || fail "could not install the packages. As root, run:
	apt-get update && apt-get install --no-install-recommends$need"

need=$(missing $wanted)
[ -z "$need" ] || fail "still missing after the installation:$need"

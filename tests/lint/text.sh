#!/bin/sh
# What must stand in no file: paths of one machine, notes of work left undone, hosts of package
# registries. The brackets in the patterns keep this file from matching itself.
cd "$(dirname "$0")/../.." || exit 1
bad=0

files()
{
	git -c safe.directory='*' ls-files -z 2>/dev/null ||
		find . -name .git -prune -o -path ./build -prune -o -type f -print0
}

search()
{
	what=$1
	shift
	if files | xargs -0 grep -nIE "$@" /dev/null; then
		echo "text.sh: the lines above have $what"
		bad=1
	fi
}

search 'a path of one machine' -e '(^|[^[:alnum:]_.])/(wor[k]|roo[t])/' -e '/tmp/w[t]/'
search 'a note of work left undone' -w -e 'TO[D]O' -e 'FIX[M]E' -e 'X[X]X'
search 'the host of a registry or mirror' -i \
	-e '(pypi|crates|npmjs|golang|pythonhosted|debian)\.(or[g]|i[o])/(simple|api|debian|pool)' \
	-e '(registr[y]|mirro[r]|prox[y]|artifactor[y])\.[a-z0-9-]+\.(com|org|io|net|internal)'
exit $bad

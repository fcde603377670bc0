#!/usr/bin/perl
# Encodes values of every PDU with another implementation of ASN.1 (Convert::ASN1, Debian's
# libconvert-asn1-perl) that reads docs/asn1, and prints them for tests/unit/wire_check.c.
# Each one is decoded again and compared with the value it was made from.
#
# usage: wire_vectors.pl > tests/unit/wire_vectors.inc       (from the top of the source tree)
#        wire_vectors.pl --corpus tests/fuzz/corpus/fuzz_wire     writes each body into a file there
#
# tests/lint/wire_vectors.sh checks that what is in the tree is what this prints.
use strict;
use warnings;
use utf8;
use Convert::ASN1;
use Math::BigInt;

my @vectors;

# ---- values; tests/unit/test_wire_*.c holds the same ones, written by hand ----

sub run_of { my ($count, $first, $step) = @_;
	return join '', map { chr(($first + $step * $_) & 0xff) } 0 .. $count - 1; }
sub id     { return run_of(16, $_[0], 7); }
sub digest { return run_of(32, $_[0], 5); }
sub octets { return run_of($_[0], $_[1], 3); }
sub labels { return [split /\./, $_[0]]; }
sub big    { return Math::BigInt->new($_[0]); }
sub mb     { my ($local, $domain) = split /\@/, $_[0];
	return { localpart => $local, domain => labels($domain) }; }

my $time = big('1700000000123456');
my $max = big('18446744073709551615');
my $nowhere = { literals => [] };

sub add { my ($module, $pdu, $name, $value) = @_;
	push @vectors, { module => $module, pdu => $pdu, name => $name, value => $value }; }

# NAME is the alternative, perhaps with ".variant".
sub command { my ($module, $name, $value) = @_;
	my ($kind) = split /\./, $name;
	add($module, 'command', $name, { command => { data => { $kind => $value } } }); }
sub response { my ($module, $name, $value, %rest) = @_;
	my ($kind) = split /\./, $name;
	add($module, 'response', $name,
		{ response => { abort => 0, status => 0, data => { $kind => $value }, %rest } }); }

# What is alike in all four.
for my $module (qw(msoap msrap rnasp rnaqp)) {
	response($module, 'none', {}, abort => 1, status => 11, text => 'no such message é',
		retryAfter => 300);
	response($module, 'none.bare', {});
	response($module, 'none.future', {}, status => 200);
}

# MSOAP
command('msoap', 'authenticate', { account => 'alice', password => 'x' });
command('msoap', 'authenticate.long', { account => 'älice', password => 'p' x 300 });
command('msoap', 'submitEnvelope', { lifetime => 0 });
command('msoap', 'submitEnvelope.full', {
	recipients => [mb('bob@b.example'), mb('çelik@xn--bcher-kva.example'), mb('c@d')],
	lists => ['news@a.example', 'ünion@a.example'], lifetime => 2592000, size => 65536,
	submissionId => id(1), sender => mb('alice@a.example'), digest => digest(2),
	releaseAt => $time, hold => 1 });
command('msoap', 'submitEnvelope.none', { recipients => [], lists => [], lifetime => 127, hold => 0 });
command('msoap', 'submitChunk', { isLast => 1, offset => 0, data => octets(300, 1) });
command('msoap', 'submitChunk.empty', { isLast => 0, offset => $max, data => '' });
command('msoap', 'submitChunk.128', { isLast => 0, offset => 128, data => octets(128, 9) });
command('msoap', 'track', { id => id(3) });
command('msoap', 'track.full', { id => id(3), after => 7, limit => 1 });
command('msoap', 'cancel', { id => id(4) });
command('msoap', 'cancel.full', { id => id(4), recipients => [mb('bob@b.example')] });
command('msoap', 'submitReference', { isLast => 0, offset => 5, id => id(5) });
command('msoap', 'submitReference.full', { isLast => 1, offset => 128,
	store => { domain => labels('store.a.example') }, id => id(5), section => '1.2',
	from => 32768, length => 40000000, encoding => 1 });
command('msoap', 'submitReference.literals', { isLast => 1, offset => 128,
	store => { literals => [
		{ address => { v4 => "\x7f\0\0\1" }, port => 4401 },
		{ address => { v6 => run_of(16, 0x20, 1) }, port => 65535 } ] },
	id => id(5), encoding => 0 });
command('msoap', 'archive', { after => 0 });
command('msoap', 'archive.full', { after => 8388608, limit => 100 });
command('msoap', 'watch', { after => $max, wait => 1800 });
command('msoap', 'release', { id => id(6) });
command('msoap', 'readdress', { id => id(7), recipients => [mb('bob@b.example'), mb('@')] });
command('msoap', 'extend', { id => id(8), lifetime => 86400 });
command('msoap', 'forget', { id => id(9) });

my $delivery = { notification => 6, read => 0, pinned => 1, recipient => mb('bob@b.example'),
	attempts => 3, changed => $time, nextAttempt => $time + 60000000, text => 'connection refused' };
my $delivery_bare = { notification => 12, read => 3, pinned => 0, recipient => mb('c@d'),
	attempts => 0, changed => 0 };
my $envelope_done = { id => id(10), recipients => [0, 2, 3], lists => [1], received => 255,
	expires => $time, complete => 1 };

response('msoap', 'authenticate', {});
response('msoap', 'submitEnvelope', $envelope_done);
response('msoap', 'submitEnvelope.none', { id => id(11), recipients => [], lists => [],
	received => 0, expires => 1, complete => 0 }, abort => 1, status => 7, text => 'nobody left');
response('msoap', 'submitChunk', { received => 65536 });
response('msoap', 'submitChunk.last', { received => 256, digest => digest(12) });
response('msoap', 'track', { deliveries => [] });
response('msoap', 'track.full', { deliveries => [$delivery, $delivery_bare], next => 2 });
response('msoap', 'cancel', {});
response('msoap', 'submitReference', { received => 40000000, digest => digest(13) });
response('msoap', 'archive', { messages => [] });
response('msoap', 'archive.full', { messages => [
	{ id => id(14), size => 1000, submitted => $time, expires => $time + 1, digest => digest(15),
		held => 1, header => octets(40, 16), structure => '("text" "plain")' },
	{ id => id(17), size => 0, submitted => 0, expires => 0, digest => digest(18), held => 0 } ],
	next => 99 });
response('msoap', 'watch', { changes => [{ id => id(19), delivery => $delivery },
	{ id => id(20), delivery => $delivery_bare }], next => 21 });
response('msoap', 'release', {});
response('msoap', 'readdress', $envelope_done);
response('msoap', 'extend', { expires => $time });
response('msoap', 'forget', {});

# MSRAP
command('msrap', 'scanList', { list => 'news@a.example', begin => 0 });
command('msrap', 'scanList.full', { list => 'news@a.example', begin => $time, limit => 50,
	key => octets(16, 1) });
command('msrap', 'silence', { id => id(1) });
command('msrap', 'unPin', { id => id(2) });
command('msrap', 'querySize', { id => id(3) });
command('msrap', 'retrieve', { id => id(4), type => 3, offset => 0, length => 0 });
command('msrap', 'retrieve.full', { id => id(4), type => 4, offset => 65536, length => 2048,
	section => '2.1.MIME', proof => 1 });
command('msrap', 'refuse', { id => id(5) });
command('msrap', 'refuse.full', { id => id(5), reason => 'nicht für mich' });
command('msrap', 'grant', { id => id(6) });
command('msrap', 'grant.full', { id => id(6), expires => $time, uses => 1 });
command('msrap', 'subscribe', { list => 'news@a.example', mailbox => mb('bob@b.example') });
command('msrap', 'subscribe.full', { list => 'news@a.example', mailbox => mb('bob@b.example'),
	key => octets(32, 7) });
command('msrap', 'unsubscribe', { list => 'news@a.example', key => '' });
command('msrap', 'listInfo', { list => 'news@a.example' });

response('msrap', 'scanList', { posts => [], end => $time });
response('msrap', 'scanList.full', { posts => [
	{ id => id(8), posted => $time, sender => 'alice@a.example', size => 1234,
		subject => 'Grüße', digest => digest(9) },
	{ id => id(10), posted => 0, sender => '', size => 0 } ], end => 77 });
response('msrap', 'silence', {});
response('msrap', 'unPin', {});
response('msrap', 'retrieve', { size => 300, offset => 0, data => octets(300, 11) });
response('msrap', 'retrieve.proof', { size => 5000000, offset => 65536,
	proof => [digest(12), digest(13)], data => octets(20, 14) });
response('msrap', 'retrieve.empty', { size => 0, offset => 0, proof => [], data => '' });
response('msrap', 'querySize', { size => 40000000, headers => 812 });
response('msrap', 'refuse', {});
response('msrap', 'grant', { id => id(15), expires => $time });
response('msrap', 'subscribe', { key => octets(16, 16) });
response('msrap', 'unsubscribe', {});
response('msrap', 'listInfo', { open => 0, posting => 0, posts => 0 });
response('msrap', 'listInfo.full', { title => 'News — 新聞', open => 1, posting => 3, posts => 128,
	subscribers => 100000 });

# RNASP
my $notification = { storeClear => $nowhere, storeTls => { domain => labels('a.example') },
	recipient => mb('bob@b.example'), id => id(1), sender => 'alice@a.example', size => 40000000,
	digest => digest(2), expires => $time + 86400000000, submitted => $time,
	header => "From: alice\@a.example\r\nSubject: =?utf-8?q?x?=\r\n\r\n",
	structure => '("text" "plain" NIL NIL NIL "7bit" 5 1)', list => 'news@a.example' };
my $notification_bare = { storeClear => $nowhere, recipient => mb('c@d'), id => id(3),
	sender => 'a@b' };
my $notification_literal = { %$notification_bare, storeTls => { literals => [
	{ address => { v6 => run_of(16, 1, 1) }, port => 0 } ] } };

command('rnasp', 'notify', { notifications => [] });
command('rnasp', 'notify.full', { notifications =>
	[$notification, $notification_bare, $notification_literal] });
command('rnasp', 'withdraw', { notifications => [{ recipient => mb('bob@b.example'), id => id(4) }] });
command('rnasp', 'notifyMany', { common => $notification, addressees => [
	{ recipient => mb('bob@b.example'), id => id(1) }, { recipient => mb('c@d'), id => id(5) }] });
response('rnasp', 'notify', { results => [0, 1, 2, 3, 4, 5] });
response('rnasp', 'notify.future', { results => [6, 127, 128, 2147483647] });
response('rnasp', 'withdraw', {});
response('rnasp', 'notifyMany', { results => [] });

# RNAQP
command('rnaqp', 'authenticate', { account => 'bob', password => 'imt_secret' });
command('rnaqp', 'retrieveAndClear', {});
command('rnaqp', 'retrieve', { after => 0 });
command('rnaqp', 'retrieve.full', { after => 4294967296, limit => 200, wait => 1800 });
command('rnaqp', 'acknowledge', { cursors => [1, 128, $max] });
command('rnaqp', 'policy', { action => 0, table => 'blacklist' });
command('rnaqp', 'policy.full', { action => 2, table => 'whitelist', value => '@a.example' });
command('rnaqp', 'fetch', { cursor => 1, type => 3, offset => 0, length => 0 });
command('rnaqp', 'fetch.full', { cursor => 1, type => 4, offset => 1, length => 2, section => '1' });

my $received = { notification => $notification,
	submitter => { address => { v4 => "\xc0\0\2\1" }, port => 49152 }, received => $time,
	cursor => 17, verified => labels('a.example'), withdrawn => 1 };
my $received_bare = { notification => $notification_literal,
	submitter => { address => { v6 => run_of(16, 0x20, 1) }, port => 1 }, received => 0, cursor => 0 };

response('rnaqp', 'authenticate', {});
response('rnaqp', 'retrieveAndClear', { notifications => [$received_bare], next => 1 });
response('rnaqp', 'retrieve', { notifications => [], next => 0 });
response('rnaqp', 'retrieve.full', { notifications => [$received, $received_bare], next => 18 });
response('rnaqp', 'acknowledge', {});
response('rnaqp', 'policy', { values => ['eve@e.example', '@f.example', '@.g.example'] });
response('rnaqp', 'fetch', { size => 12, offset => 0, data => octets(12, 4) });
response('rnaqp', 'fetch.long', { size => 70000, offset => 69000, data => octets(1000, 5) });

# ---- encoding ----

# The text of a module without what Convert::ASN1 does not know: header, imports, constraints,
# names of numbers. A tag on a CHOICE is explicit (X.680 31.2.7 c); here it must be said, or
# Convert::ASN1 0.33 leaves the bit "constructed" out.
my @choices = ('CHOICE');
sub module_text { my ($name) = @_;
	local $/;
	open my $file, '<:utf8', "docs/asn1/IM2000-$name.asn1" or die "docs/asn1/IM2000-$name.asn1: $!\n";
	my $text = <$file>;
	close $file;
	$text =~ s/--[^\n]*//g;
	$text =~ s/^.*?\bBEGIN\b//s;
	$text =~ s/\bEND\s*$//;
	$text =~ s/\bIMPORTS\b[^;]*;//s;
	$text =~ s/\(\s*SIZE\s*\([^)]*\)\s*\)//g;
	$text =~ s/\bINTEGER\s*\([^)]*\)/INTEGER/g;
	$text =~ s/\bENUMERATED\s*\{[^}]*\}/ENUMERATED/gs;
	push @choices, $text =~ /(\w+)\s*::=\s*CHOICE\b/g;
	my $choices = join '|', @choices;
	$text =~ s/\]\s*($choices)\b/] EXPLICIT $1/g;
	return $text;
}

# Whether two values are alike; numbers may be plain or Math::BigInt.
sub same { my ($a, $b) = @_;
	return 0 unless defined $a && defined $b;
	if (ref $a eq 'HASH') {
		return 0 unless ref $b eq 'HASH' && keys %$a == keys %$b;
		return !grep { !exists $b->{$_} || !same($a->{$_}, $b->{$_}) } keys %$a;
	}
	if (ref $a eq 'ARRAY') {
		return 0 unless ref $b eq 'ARRAY' && @$a == @$b;
		return !grep { !same($a->[$_], $b->[$_]) } 0 .. $#$a;
	}
	return "$a" eq "$b";
}

my %pdu;
for my $module (qw(msoap msrap rnasp rnaqp)) {
	my $asn = Convert::ASN1->new(encoding => 'DER', tagdefault => 'IMPLICIT');
	$asn->configure(encode => { bigint => 'Math::BigInt' }, decode => { bigint => 'Math::BigInt' });
	$asn->prepare(module_text('Common') . module_text(uc $module)) or die "$module: ", $asn->error, "\n";
	$pdu{$module} = $asn->find('Pdu') or die "$module: ", $asn->error, "\n";
}

for my $v (@vectors) {
	my $name = "$v->{module}.$v->{pdu}.$v->{name}";
	my $der;
	{
		# Convert::ASN1 0.33 appends the tag of a CHOICE, which has none.
		local $SIG{__WARN__} = sub { warn @_ unless $_[0] =~ /^Use of uninitialized/ };
		$der = $pdu{$v->{module}}->encode($v->{value});
	}
	defined $der or die "$name: ", $pdu{$v->{module}}->error, "\n";
	my $back = $pdu{$v->{module}}->decode($der);
	same($v->{value}, $back) or die "$name: decodes to something else\n";
	$v->{der} = $der;
	$v->{full} = $name;
}

if (@ARGV == 2 && $ARGV[0] eq '--corpus') {
	for my $v (@vectors) {
		open my $file, '>:raw', "$ARGV[1]/$v->{full}" or die "$ARGV[1]/$v->{full}: $!\n";
		print $file $v->{der};
		close $file or die "$ARGV[1]/$v->{full}: $!\n";
	}
	exit 0;
}
@ARGV == 0 or die "usage: wire_vectors.pl [--corpus DIR]\n";

print "/* Made by tests/tools/wire_vectors.pl; do not edit. Name, then the PDU in hex. */\n";
for my $v (@vectors) {
	my $hex = unpack 'H*', $v->{der};
	print "{ \"$v->{full}\",\n";
	print join("\n", map { "  \"$_\"" } unpack('(A92)*', $hex)), " },\n";
}

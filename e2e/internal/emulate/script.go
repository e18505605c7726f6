package emulate

import "strings"

// Addresses of a scene. The sink and clients from outside have outside; the rest is inside the cluster.
const (
	outside = "203.0.113.10" // TEST-NET-3, RFC 5737
	vault   = "10.213.113.10"
	first   = "10.213.113.20" // the container that a scene is about
	second  = "10.213.113.21"
	sender1 = "10.213.113.11"
	sender2 = "10.213.113.12"
	sender3 = "10.213.113.13"
)

// Ports.
const (
	sinkPort = "8443"
	workPort = "9000"
)

// functions are what the scripts call, by name. They need a POSIX shell, and Perl for sockets: neither curl nor nc is in every
// image, and neither binds to an address in every version. Data that is random and in base64 shrinks by a quarter when it is packed.
var functions = []struct{ name, text string }{
	{"make_data", `# make_data DIR COUNT: so many files of 1 MB of made-up records
make_data() {
  mkdir -p "$1"; n=0
  while [ "$n" -lt "$2" ]; do
    head -c 750000 /dev/urandom | base64 >"$1/part-$n.csv"; n=$((n+1))
  done
}`},
	{"send", `# send FROM TO PORT: sends stdin, and waits until all of it was read at the other end
send() {
  perl -MIO::Socket::INET -e '
    my ($from, $to, $port) = @ARGV; my ($s, $b, $sum);
    for (1..100) {
      $s = IO::Socket::INET->new(LocalAddr => $from, PeerAddr => $to, PeerPort => $port) and last;
      select undef, undef, undef, 0.1;
    }
    $s or die "connect from $from to $to:$port: $@\n";
    while (my $got = sysread STDIN, $b, 65536) {
      $sum += $got;
      while (length $b) { my $n = syswrite $s, $b or die "send: $!\n"; substr $b, 0, $n, "" }
    }
    $sum or die "there was nothing to send\n";
    shutdown $s, 1; sysread $s, $b, 1; $b eq "." or die "the sink did not get it all\n";' "$1" "$2" "$3"
}`},
	{"receive", `# receive ADDR PORT COUNT DIR: takes so many connections, each into a file, and ends
receive() {
  mkdir -p "$4"
  perl -MIO::Socket::INET -e '
    my ($addr, $port, $count, $dir) = @ARGV;
    my $l;
    for (1..100) {
      $l = IO::Socket::INET->new(LocalAddr => $addr, LocalPort => $port, Listen => 9, ReuseAddr => 1) and last;
      select undef, undef, undef, 0.1;
    }
    $l or die "listen: $@\n";
    for (1..$count) {
      my ($c, $b) = $l->accept; open my $f, ">", "$dir/" . $c->peerhost or die "$!\n";
      while (sysread $c, $b, 65536) { syswrite $f, $b } close $f; syswrite $c, "."; close $c;
    }' "$1" "$2" "$3" "$4"
}`},
	{"serve", `# serve ADDR PORT FILE: a web server for one request
serve() {
  perl -MIO::Socket::INET -e '
    my ($addr, $port, $file) = @ARGV; my $b;
    my $l;
    for (1..100) {
      $l = IO::Socket::INET->new(LocalAddr => $addr, LocalPort => $port, Listen => 9, ReuseAddr => 1) and last;
      select undef, undef, undef, 0.1;
    }
    $l or die "listen: $@\n";
    my $c = $l->accept; sysread $c, $b, 4096; open my $f, "<", $file or die "$file: $!\n";
    syswrite $c, "HTTP/1.0 200 OK\r\n\r\n"; while (sysread $f, $b, 65536) { syswrite $c, $b }' "$1" "$2" "$3"
}`},
	{"fetch", `# fetch FROM TO PORT PATH: a web client, which throws away what it gets
fetch() {
  perl -MIO::Socket::INET -e '
    my ($from, $to, $port, $path) = @ARGV; my ($s, $b, $sum);
    for (1..100) {
      $s = IO::Socket::INET->new(LocalAddr => $from, PeerAddr => $to, PeerPort => $port) and last;
      select undef, undef, undef, 0.1;
    }
    $s or die "connect from $from to $to:$port: $@\n";
    syswrite $s, "GET $path HTTP/1.0\r\n\r\n"; while (my $n = sysread $s, $b, 65536) { $sum += $n }
    $sum > 1000 or die "nothing came\n"' "$1" "$2" "$3" "$4"
}`},
	{"sink", `# sink PORT ADDR...: gives loopback these addresses, takes connections to the first two, and throws away what comes
sink() {
  perl -MIO::Socket::INET -e '
    my ($port, @addrs) = @ARGV; my $n = 0;
    socket my $s, 2, 2, 0 or die "$!\n";
    my $set = sub { # a struct ifreq
      my ($call, $request) = @_;
      ioctl $s, $call, $request or die "give loopback an address: $!: it takes the capability NET_ADMIN\n";
    };
    $set->(0x8914, pack "a16 S x22", "lo", 0x1 | 0x40); # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
    for (@addrs) {
      my $if = "lo:" . ++$n;
      $set->(0x8916, pack "a16 S n C4 x16", $if, 2, 0, split /\./);             # SIOCSIFADDR
      $set->(0x891c, pack "a16 S n C4 x16", $if, 2, 0, 255, 255, 255, 255);     # SIOCSIFNETMASK
    }
    for my $addr (@addrs[0, 1]) {
      fork and next;
      my $l = IO::Socket::INET->new(LocalAddr => $addr, LocalPort => $port, Listen => 9, ReuseAddr => 1) or die "listen: $@\n";
      while (my $c = $l->accept) {
        my $b; while (sysread $c, $b, 65536) {} syswrite $c, "."; close $c;
      }
    }
    1 while wait != -1;' "$@"
}`},
}

// sinkScript is what the sink does until it is killed.
const sinkScript = "sink " + sinkPort + " " + outside + " " + vault + " " + first + " " + second + " " + sender1 + " " + sender2 + " " + sender3

// Functions are the texts of the functions, for people.
func Functions() string {
	var b strings.Builder
	for _, f := range functions {
		b.WriteString(f.text + "\n")
	}
	return b.String()
}

// complete is a script with the functions that it calls before it. It ends at the first command that fails.
func complete(script string) string {
	var b strings.Builder
	b.WriteString("set -e\n")
	for _, f := range functions {
		if strings.Contains(script, f.name+" ") {
			b.WriteString(f.text + "\n")
		}
	}
	return b.String() + script
}

// background is a script that goes on when the step has ended. The subshell is for dash: it keeps the standard output that it redirects
// for a function open for as long as that runs, and a runtime of pods waits for the end of that.
func background(script string) string { return "(" + script + ") >/dev/null 2>&1 </dev/null &" }

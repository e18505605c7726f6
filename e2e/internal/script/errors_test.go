package script

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhatAScriptMayNotSayIsRefusedWithItsPlaceAndARemedy(t *testing.T) {
	for _, tc := range []struct{ name, source, want string }{
		{"an unknown verb", "p raed /a 1KB\n", `1:3: unknown verb "raed" (did you mean read?): write one of ` + allVerbs()},
		{"an unknown statement", "contaner web\n", `1:1: unknown statement "contaner" (did you mean container?)`},
		{"an unknown word alone", "hello\n", `1:1: unknown statement "hello": write one of and, at, begin, container, end, for, gone, lost, machine, process, ` +
			"repeat, seed, skew, snaplen, start, step, together, user, or `PROCESS VERB ...`"},
		{"an unknown option", "p open /a creat\n", "1:11: unknown word \"creat\" (did you mean create?): write `PROCESS open PATH [read|write|rw] [create] " +
			"[truncate] [append] [excl] [directory] [tmpfile] [as NAME] [fails ERROR]`"},
		{"a word too many", "p close /a /b\n", "1:12: unknown word \"/b\": write `PROCESS close WHAT`"},
		{"a word too few", "p close\n", "1:3: what to close is missing: write `PROCESS close WHAT`"},
		{"a size without unit", "p read /a lots\n", `1:11: the size "lots" is no size: write 4096, 64KB (1000 bytes each) or 64KiB (1024 bytes each)`},
		{"a piece that no call moves", "p read /a 9GB in 3GB\n", "1:18: a piece of 3000000000 bytes: write 2GB or less"},
		{"a time without unit", "+5 p read /a 1KB\n", `1:1: the pause "5" is no time: write 500us, 20ms, 5s, 2m or 6h30m`},
		{"a pause back in time", "+-5s p read /a 1KB\n", "1:1: the pause is before what comes above: write a time that is not negative"},
		{"an unknown error", "p open /a fails ENOPE\n", `1:17: the error "ENOPE" is not known: write ENOENT, EACCES, EAGAIN, ECONNREFUSED, ECONNRESET, EPIPE or another of errno.h`},
		{"a program without a path", "container c\nstart p in c runs curl -s\n", `2:19: the program "curl" is no absolute path: write /usr/bin/curl, or ` + "`exe PATH` before runs"},
		{"a start of nobody's", "start p runs /p\n", "1:1: who starts p, or in which container, is missing: write `start NAME in CONTAINER [uid NUMBER] [cwd DIRECTORY] " +
			"[cpu NUMBER] [pid NUMBER] [exe PATH] runs PROGRAM [ARGUMENT]...`, or `PROCESS start NAME runs PROGRAM`"},
		{"a name that is a keyword", "process end runs /p\n", "1:9: end begins statements of its own: write another name"},
		{"a name that is a number", "process 7 runs /p\n", `1:9: "7" is no name: begin it with a letter`},
		{"a mount of one path", "container c mount /a\n", `1:19: the mount "/a": write /on/the/host:/in/the/container, with :ro at the end if it is read-only`},
		{"a pod without namespace", "container c pod web-0\n", `1:17: the pod "web-0" has no namespace: write NAMESPACE/POD`},
		{"a short id", "container c id abc\n", `1:16: the id "abc": write 64 hexadecimal digits, or leave it out`},
		{"an unknown capability", "container c capability CAP_BPF\n",
			`1:24: the capability "CAP_BPF" is not known: write one of capabilities(7) without CAP_, such as NET_ADMIN`},
		{"a setting too late", "container c\nseed 7\n", "2:1: seed holds for the whole script: move it above everything else"},
		{"a setting with a time", "+1s seed 7\n", "1:5: seed holds for the whole script: move it above everything else, without a time"},
		{"a block with a time", "+1s repeat 2 times\n", "1:5: repeat takes no time before it: write the time on a line of its own above"},
		{"a step too short", "step 1us\n", "1:6: a step of 1µs: write 10µs or more"},
		{"a block without end", "repeat 2 times\np exit\n", "1:1: repeat has no end: write `end` after its last line"},
		{"an end without block", "end\n", "1:1: end without a block: take it out, or write `for`, `repeat`, `together` or `lost` above"},
		{"an and outside of together", "repeat 2 times\nand\np exit\nend\n", "2:1: and does not belong here: it parts and ends blocks"},
		{"a range the wrong way", "for i in 5..1\np exit\nend\n", "1:10: 5..1: write the lower number first, and both within 2147483647"},
		{"a variable that there is not", "for i in 1..2\np read /a$j 1KB\nend\n", "2:8: no variable $j: write $i, or $$ for a dollar"},
		{"a mistake that only a value shows", "for s in 1KB many\np read /a $s\nend\np exit\n",
			`2:11: the size "many" is no size: write 4096, 64KB (1000 bytes each) or 64KiB (1024 bytes each)`},
		{"what was there before after the beginning", "container c\nstart p in c runs /p\nprocess q in c runs /q\n",
			"3:1: this was there before the recording, and that has begun: move it above x.script:2:1, or write `start`"},
		{"what was there before in a block of what happens", "container c\ntogether\nprocess q in c runs /q\nend\n",
			"3:1: this was there before the recording and does not belong in together: move it out, or write `start`"},
		{"both in a loop", "container c\nfor i in 1..2\nprocess q$i in c runs /q\nq$i exit\nend\n",
			"4:1: this happens in the recording, and the loop at x.script:2:1 is about what was there before it: write a loop of its own below"},
		{"had of what leaves nothing", "process p runs /p\np had write 1 1KB\n",
			"2:7: nothing is left of write that a process could have had: write open, connect, listen, accept, pipe or thread"},
		{"a quote that does not end", `p write 1 1KB "abc` + "\n", `1:15: a quote that does not end, or an unknown escape in it: write "..." with \" \\ \n \t or \xHH`},
		{"a share of nothing", "lost 0%\np exit\nend\n", `1:6: "0%": write a share from 1% to 100%`},
		{"nothing at all", "# hello\n", "1:1: nothing happens in the script: write a step such as `start app in web runs /usr/bin/app`"},
		{"bytes that are no text", "p write 1 1KB \xff\n", "1:1: not UTF-8: write other bytes as \\xHH in quotes"},
		{"columns in characters", `p write "ü" nix` + "\n", `1:13: the size "nix" is no size: write 4096, 64KB (1000 bytes each) or 64KiB (1024 bytes each)`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("x.script", []byte(tc.source))
			require.Error(t, err)
			assert.Equal(t, "x.script:"+tc.want, err.Error())
		})
	}
}

func allVerbs() string {
	return "accept, close, connect, copy, copy_file_range, dup, exec, exit, fork, io_uring_enter, io_uring_setup, listen, memfd, mmap, open, " +
		"pipe, pread, pwrite, read, readv, recv, recvmsg, rename, seek, send, sendfile, sendmsg, socket, socketpair, splice, start, thread, " +
		"unlink, write, writev"
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	_, err := Parse("x.script", []byte("begin today\ncontainer\np raed\n"))
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 3)
	for i, prefix := range []string{"x.script:1:7: ", "x.script:2:1: ", "x.script:3:3: "} {
		assert.True(t, strings.HasPrefix(lines[i], prefix), lines[i])
	}
}

func TestWhatCannotHappenEndsThePlayWithItsPlaceAndARemedy(t *testing.T) {
	for _, tc := range []struct{ name, source, want string }{
		{"nobody of that name", "r write 1 1KB\n", "5:1: no process r runs: write `start r in CONTAINER runs PROGRAM` or `process r runs PROGRAM` above"},
		{"somebody who has ended", "p exit\np write 1 1KB\n", "6:1: no process p runs: write `start p in CONTAINER runs PROGRAM` or `process p runs PROGRAM` above"},
		{"no container of that name", "start r in d runs /r\n", "5:1: no container d: write `container d ...` above"},
		{"a name twice", "p start q runs /q\n", "5:1: q runs already: write another name, or let it end first: q exit"},
		{"a container twice", "+1s container c\np exit\n", "5:5: there is a container c already: write another name, or let it go first: gone c"},
		{"a container gone before its processes", "gone c\n", "5:1: p runs in the container c: write `p exit` first"},
		{"what is not open", "p open /a\np open /b\np read /c 1KB\n", "7:1: /c is not open: write one of /a, /b"},
		{"what is open the other way", "p open /a\np write /a 1KB\n", "6:1: /a is not open to write: open it with `write` or `rw`"},
		{"a pipe of two ends", "p pipe x\np close x\n", "6:1: both ends of x are open: write x.r or x.w"},
		{"a relative path", "p open a\n", `5:1: the path "a" is relative: write it from / on`},
		{"a new file that is there", "p open /a\np open /a create excl\n", "6:1: /a is there, and excl wants a new file: write `fails EEXIST`, or leave excl out"},
		{"an address that is none", "p connect example.com\n",
			`5:1: "example.com" is no address: write 198.51.100.7:443, [2001:db8::7]:443, CONTAINER:443 or unix:/run/app.sock`},
		{"a name that is no container", "p connect example.com:80\n", "5:1: no container example.com: write `container example.com ...` above"},
		{"a family that the container has not", "p connect [2001:db8::1]:80\n",
			"5:1: there is no IPv6 address: write one on the line of the container c, such as ip fd00::7"},
		{"nobody listening", "p accept :80 from 192.0.2.1\n", "5:1: nothing listens on :80: write `p listen :80` or `p had listen :80` above"},
		{"nobody connecting", "p listen :80\np accept :80\n",
			"6:1: nobody has connected to :80: write `connect` of a process above, or `from ADDRESS` for a peer elsewhere"},
		{"listening twice", "p listen :80\np listen :80\n", "6:1: p listens on :80 already"},
		{"a send to a file", "p open /a rw\np send /a 1KB\n", "6:1: /a is no socket: write write"},
		{"an address of a connection that has none", "p pipe x\np dup x.w as s\np write s 1KB\np socketpair y\np send y.1 1KB to 192.0.2.1:5\n",
			"9:1: y.1 is no datagram socket: leave out the address 192.0.2.1:5"},
		{"an offset of a pipe", "p pipe x\np seek x.r 5\n", "6:1: x.r is no file: it has no offset to seek"},
		{"a time that is over", "+1h p write 1 1KB\nat 30m p write 1 1KB\n",
			"6:8: 30m0s after the beginning is over already: it is 1h0m0s; write a later time, or `+30m0s` for a pause"},
		{"too many rounds side by side", "for i in 1..10001 every 1us\np write 1 1KB\n+1h p write 1 1KB\nend\n",
			"5:1: more than 10,000 of these run at the same time: begin them less often, or let them end sooner"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := Parse("x.script", []byte(base+tc.source))
			require.NoError(t, err)
			err = s.Write(io.Discard)
			require.Error(t, err)
			assert.Equal(t, "x.script:"+tc.want, err.Error())
		})
	}
}

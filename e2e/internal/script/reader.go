package script

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agext/levenshtein"
	"github.com/dustin/go-humanize"

	"github.com/falco-datastaging/datastaging/e2e/internal/kernel"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// reader reads the words of one statement straight through. The first error stays; what is read after it is zero.
type reader struct {
	words line
	usage string           // what the statement looks like
	at    ruleset.Position // of the word read last
	err   error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = failAt(r.at, format, args...)
	}
}

func (r *reader) more() bool { return r.err == nil && len(r.words) > 0 }

// take reads a word that must be there.
func (r *reader) take(what string) string {
	if r.err != nil {
		return ""
	}
	if len(r.words) == 0 {
		r.fail("%s is missing: write `%s`", what, r.usage)
		return ""
	}
	w := r.words[0]
	r.words, r.at = r.words[1:], w.pos
	return w.text
}

// next reads a word if it is the given one.
func (r *reader) next(keyword string) bool {
	if r.more() && !r.words[0].quoted && r.words[0].text == keyword {
		r.take(keyword)
		return true
	}
	return false
}

// expect reads a word that must be the given one.
func (r *reader) expect(keyword string) {
	if r.err == nil && !r.next(keyword) {
		if len(r.words) > 0 {
			r.at = r.words[0].pos
		}
		r.fail("%s is missing: write `%s`", keyword, r.usage)
	}
}

// option reads the name of an option, one of names.
func (r *reader) option(names ...string) string {
	name := r.take("an option")
	if r.err == nil && !slices.Contains(names, name) {
		r.fail("unknown word %q%s: write `%s`", name, meant(name, names), r.usage)
	}
	return name
}

func (r *reader) done() {
	if r.more() {
		r.at = r.words[0].pos
		r.fail("unknown word %q: write `%s`", r.words[0].text, r.usage)
	}
}

// meant is the candidate that was probably meant, for an error.
func meant(name string, candidates []string) string {
	best, least := "", len(name)/3+2
	for _, c := range candidates {
		if d := levenshtein.Distance(name, c, nil); d < least {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}

// name reads a name that the script gives to something.
func (r *reader) name(what string) string {
	name := r.take(what)
	for i := range len(name) {
		if c := name[i]; !isName(c) && c != '-' && c != '.' {
			r.fail("%q is no name: write letters, digits, '-', '_' and '.'", name)
			break
		}
	}
	if r.err == nil && (name == "" || name[0] >= '0' && name[0] <= '9') {
		r.fail("%q is no name: begin it with a letter", name)
	}
	return name
}

func (r *reader) size(what string) uint64 {
	text := r.take(what)
	n, err := humanize.ParseBytes(strings.ReplaceAll(text, "_", ""))
	if r.err == nil && (err != nil || n == 0) {
		r.fail("%s %q is no size: write 4096, 64KB (1000 bytes each) or 64KiB (1024 bytes each)", what, text)
	}
	return n
}

func (r *reader) duration(what string) time.Duration {
	text := r.take(what)
	d, err := time.ParseDuration(text)
	if r.err == nil && err != nil {
		r.fail("%s %q is no time: write 500us, 20ms, 5s, 2m or 6h30m", what, text)
	}
	return d
}

// span is a duration that is not negative.
func (r *reader) span(what string) time.Duration {
	d := r.duration(what)
	if r.err == nil && d < 0 {
		r.fail("%s is before what comes above: write a time that is not negative", what)
	}
	return d
}

func (r *reader) number(what string, least, most int64) int64 {
	text := r.take(what)
	n, err := strconv.ParseInt(text, 10, 64)
	if r.err == nil && (err != nil || n < least || n > most) {
		r.fail("%s %q: write a whole number from %d to %d", what, text, least, most)
	}
	return n
}

func (r *reader) address() netip.Addr {
	text := r.take("an address")
	addr, err := netip.ParseAddr(text)
	if r.err == nil && err != nil {
		r.fail("%q is no IP address: write 10.1.0.7 or fd00::7", text)
	}
	return addr.Unmap()
}

func (r *reader) pair() (key, value string) {
	text := r.take("KEY=VALUE")
	key, value, ok := strings.Cut(text, "=")
	if r.err == nil && (!ok || key == "") {
		r.fail("%q: write KEY=VALUE", text)
	}
	return key, value
}

// errnos are the errors that calls may fail with.
var errnos = map[string]int64{
	"EPERM": 1, "ENOENT": 2, "EINTR": 4, "EIO": 5, "EBADF": 9, "EAGAIN": 11, "ENOMEM": 12, "EACCES": 13, "EEXIST": 17, "EISDIR": 21,
	"EMFILE": 24, "ENOSPC": 28, "EROFS": 30, "EPIPE": 32, "ENETUNREACH": 101, "ECONNRESET": 104, "ETIMEDOUT": 110, "ECONNREFUSED": 111,
	"EHOSTUNREACH": 113,
}

func (r *reader) errno() int64 {
	name := r.take("an error")
	n, ok := errnos[name]
	if r.err == nil && !ok {
		r.fail("the error %q is not known: write ENOENT, EACCES, EAGAIN, ECONNREFUSED, ECONNRESET, EPIPE or another of errno.h", name)
	}
	return n
}

// program reads the command line after `runs`; exe is the program's path where it is not the first word.
func (r *reader) program(exe string) kernel.Program {
	p := kernel.Program{Path: exe, Args: []string{r.take("the program")}}
	if p.Path == "" {
		p.Path = p.Args[0]
	}
	if r.err == nil && !strings.HasPrefix(p.Path, "/") {
		r.fail("the program %q is no absolute path: write /usr/bin/%s, or `exe PATH` before runs", p.Path, p.Path)
	}
	for r.more() {
		p.Args = append(p.Args, r.take("an argument"))
	}
	return p
}

// contents are the kinds of content by name.
var contents = map[string]kernel.Content{
	"text":    {Filler: kernel.Text},
	"random":  {Filler: kernel.Random},
	"zero":    {Filler: kernel.Zero},
	"gzip":    {Head: []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), Filler: kernel.Random},
	"zip":     {Head: []byte("PK\x03\x04\x14\x00\x00\x00\x08\x00"), Filler: kernel.Random},
	"xz":      {Head: []byte("\xfd7zXZ\x00\x00\x04"), Filler: kernel.Random},
	"zstd":    {Head: []byte("\x28\xb5\x2f\xfd\x04\x58"), Filler: kernel.Random},
	"bzip2":   {Head: []byte("BZh91AY&SY"), Filler: kernel.Random},
	"7z":      {Head: []byte("7z\xbc\xaf\x27\x1c\x00\x04"), Filler: kernel.Random},
	"openssl": {Head: []byte("Salted__"), Filler: kernel.Random},
	"tar":     {Head: append([]byte("data/customers.csv"), make([]byte, 82)...)},
	"elf":     {Head: []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00"), Filler: kernel.Random},
	"sqlite":  {Head: []byte("SQLite format 3\x00\x10\x00\x01\x01\x00")},
}

// contentUsage is how content is written.
const contentUsage = `[text|random|zero|gzip|zip|xz|zstd|bzip2|7z|openssl|tar|elf|sqlite|hex DIGITS|"HEAD"]`

// content reads a content if one comes next.
func (r *reader) content() *kernel.Content {
	if !r.more() {
		return nil
	}
	w := r.words[0]
	if w.quoted {
		r.take("content")
		return &kernel.Content{Head: []byte(w.text)}
	}
	if w.text == "hex" {
		r.take("hex")
		return &kernel.Content{Head: r.hex(), Filler: kernel.Random}
	}
	c, ok := contents[w.text]
	if !ok {
		return nil
	}
	r.take("content")
	c.Kind = true
	return &c
}

func (r *reader) hex() []byte {
	text := r.take("hexadecimal digits")
	var b []byte
	for i := 0; i+1 < len(text); i += 2 {
		n, err := strconv.ParseUint(text[i:i+2], 16, 8)
		if err != nil {
			break
		}
		b = append(b, byte(n))
	}
	if r.err == nil && (len(b)*2 != len(text) || len(b) == 0) {
		r.fail("%q are not pairs of hexadecimal digits: write hex 1f8b08", text)
	}
	return b
}

package script

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
)

// What statements of their own look like.
const (
	usageBegin    = "begin 2026-03-01T02:00:00Z"
	usageStep     = "step DURATION"
	usageSeed     = "seed NUMBER"
	usageSnaplen  = "snaplen BYTES"
	usageMachine  = "machine NAME [cpus NUMBER] [ip ADDRESS]..."
	usageSkew     = "skew CPU DURATION"
	usageUser     = "user NAME UID"
	usageFor      = "for VARIABLE in FIRST..LAST|WORD... [every DURATION]"
	usageRepeat   = "repeat NUMBER times [every DURATION]"
	usageTogether = "together"
	usageLost     = "lost [PERCENT%] [ratio NUMBER]"
)

// settings are the statements that say what holds for the whole script.
var settings = map[string]string{
	"begin": usageBegin, "step": usageStep, "seed": usageSeed, "snaplen": usageSnaplen, "machine": usageMachine,
	"skew": usageSkew, "user": usageUser,
}

// blocks are the statements that begin and end blocks.
var blocks = map[string]string{
	"for": usageFor, "repeat": usageRepeat, "together": usageTogether, "and": "and", "lost": usageLost, "end": "end",
}

// parser builds the tree of statements. It goes on after an error, so that the author sees all of them.
type parser struct {
	script *Script
	lines  []line
	errs   []error
	begun  bool // something was there that is no setting
	vars   *binding
	depth  int
}

// maxDepth is how deep blocks may be nested.
const maxDepth = 16

func (p *parser) refuse(err error) {
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

func (p *parser) parse() {
	for len(p.lines) > 0 {
		words := p.lines[0]
		if first := words[0]; !first.quoted && (first.text == "end" || first.text == "and") {
			p.lines = p.lines[1:]
			p.refuse(failAt(first.pos, "%s without a block: take it out, or write `for`, `repeat`, `together` or `lost` above", first.text))
			continue
		}
		n := p.node()
		switch s := p.script; {
		case n == nil:
		case n.past() && len(s.after) > 0:
			p.refuse(failAt(n.position(), "this was there before the recording, and that has begun: move it above %s, or write `start`",
				s.after[0].position()))
		case n.past() || len(s.after) == 0 && isContainer(n):
			s.before = append(s.before, n)
		default:
			s.after = append(s.after, n)
		}
	}
}

// isContainer reports whether a node declares a container, or a loop of containers, without naming a time.
func isContainer(n node) bool {
	switch n := n.(type) {
	case *step:
		return n.keyword.text == "container" && !n.pause.given
	case *loop:
		happens := func(b node) bool { return !isContainer(b) && !b.past() }
		return n.every == 0 && len(n.body) > 0 && !slices.ContainsFunc(n.body, happens)
	}
	return false
}

// node reads the next statement, with its body if it is a block; nil where it was a setting or wrong.
func (p *parser) node() node {
	words := p.lines[0]
	p.lines = p.lines[1:]
	first := words[0]
	if first.quoted {
		p.refuse(failAt(first.pos, "a statement begins with a quoted word: write a process, or a statement such as `start`"))
		return nil
	}
	if usage, ok := settings[first.text]; ok {
		p.setting(words, usage)
		return nil
	}
	p.begun = true
	if _, ok := blocks[first.text]; ok {
		return p.block(words)
	}
	return p.step(words)
}

func (p *parser) setting(words line, usage string) {
	r := &reader{words: words[1:], usage: usage, at: words[0].pos}
	if p.begun {
		p.refuse(failAt(words[0].pos, "%s holds for the whole script: move it above everything else", words[0].text))
		return
	}
	c := &p.script.config
	switch words[0].text {
	case "begin":
		text := r.take("a time")
		t, err := time.Parse(time.RFC3339, text)
		if r.err == nil && (err != nil || t.Year() < 1980 || t.Year() > 2200) {
			r.fail("%q is no time: write 2026-03-01T02:00:00Z", text)
		}
		p.script.begin = t.UTC()
	case "step":
		const least = 10 * time.Microsecond
		if p.script.step = r.duration("the step"); r.err == nil && p.script.step < least {
			r.fail("a step of %v: write %v or more", p.script.step, least)
		}
	case "seed":
		c.Seed = uint64(r.number("the seed", 0, math.MaxInt64))
	case "snaplen":
		const most = 60_000 // a parameter has a length of 16 bits
		c.Snaplen = int(r.number("the snaplen", 0, most))
	case "machine":
		c.Hostname = r.name("a name")
		for r.more() {
			if r.option("cpus", "ip") == "cpus" {
				c.CPUs = int(r.number("cpus", 1, 1024))
			} else {
				c.Addrs = append(c.Addrs, r.address())
			}
		}
	case "skew":
		cpu := uint16(r.number("the CPU", 0, 1023))
		c.Skew[cpu] = r.duration("how far its clock is ahead")
	case "user":
		name := r.name("a name")
		uid := uint32(r.number("the uid", 1, math.MaxUint32))
		c.Users = append(c.Users, capture.User{Name: name, UID: uid, GID: uid, Home: "/home/" + name, Shell: "/bin/sh"})
	}
	r.done()
	p.refuse(r.err)
}

// body reads statements up to `end`, or `and` where that may come.
func (p *parser) body(opened word, withAnd bool) (nodes []node, ended string) {
	for len(p.lines) > 0 {
		first := p.lines[0][0]
		if !first.quoted && (first.text == "end" || first.text == "and" && withAnd) {
			if len(p.lines[0]) > 1 {
				p.refuse(failAt(p.lines[0][1].pos, "unknown word %q: write `%s` alone", p.lines[0][1].text, first.text))
			}
			p.lines = p.lines[1:]
			return nodes, first.text
		}
		if n := p.node(); n != nil {
			nodes = append(nodes, n)
		}
	}
	p.refuse(failAt(opened.pos, "%s has no end: write `end` after its last line", opened.text))
	return nodes, "end"
}

func (p *parser) block(words line) node {
	keyword := words[0]
	if p.depth++; p.depth > maxDepth {
		p.refuse(failAt(keyword.pos, "blocks in blocks %d deep: %d are the most", p.depth, maxDepth))
	}
	defer func() { p.depth-- }()
	r := &reader{words: words[1:], usage: blocks[keyword.text], at: keyword.pos}
	switch keyword.text {
	case "and", "end":
		p.refuse(failAt(keyword.pos, "%s does not belong here: it parts and ends blocks", keyword.text))
		return nil
	case "together":
		r.done()
		p.refuse(r.err)
		g := &together{keyword: keyword}
		for ended := "and"; ended == "and"; {
			var nodes []node
			nodes, ended = p.body(keyword, true)
			p.refusePast(nodes, "together")
			g.branches = append(g.branches, nodes)
		}
		return g
	case "lost":
		l := p.lostHeader(keyword, r)
		l.body, _ = p.body(keyword, false)
		p.refusePast(l.body, "lost")
		return l
	default:
		return p.loop(keyword, r)
	}
}

// refusePast refuses what was there before the recording in a block of what happens.
func (p *parser) refusePast(nodes []node, block string) {
	for _, n := range nodes {
		if n.past() {
			p.refuse(failAt(n.position(), "this was there before the recording and does not belong in %s: "+
				"move it out, or write `start`", block))
		}
	}
}

func (p *parser) lostHeader(keyword word, r *reader) *lost {
	l := &lost{keyword: keyword, percent: 100}
	for r.more() {
		if text, ok := strings.CutSuffix(r.words[0].text, "%"); ok {
			r.take("a share")
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > 100 {
				r.fail("%q: write a share from 1%% to 100%%", text+"%")
			}
			l.percent = n
			continue
		}
		r.option("ratio")
		l.ratio = uint32(r.number("the ratio", 1, 128))
	}
	p.refuse(r.err)
	return l
}

func (p *parser) loop(keyword word, r *reader) node {
	l := &loop{keyword: keyword}
	if keyword.text == "repeat" {
		count := r.take("how often")
		l.header = line{{text: "1.." + count, pos: r.at}}
		if r.err == nil && !strings.Contains(count, "$") {
			if n, err := strconv.Atoi(count); err != nil || n < 1 {
				r.fail("%q: write how often, a whole number", count)
			}
		}
		r.expect("times")
	} else {
		l.variable = r.name("a variable")
		r.expect("in")
		for r.more() && (r.words[0].quoted || r.words[0].text != "every") {
			w := r.words[0]
			r.take("a value")
			l.header = append(l.header, w)
		}
		if r.err == nil && len(l.header) == 0 {
			r.fail("what %s runs over is missing: write `%s`", l.variable, usageFor)
		}
	}
	if r.next("every") {
		if l.every = r.duration("the interval"); r.err == nil && l.every <= 0 {
			r.fail("every %v: write a time above 0", l.every)
		}
	}
	r.done()
	p.refuse(r.err)
	outer := p.vars
	if r.err == nil {
		if values, err := l.rounds(outer); err != nil {
			p.refuse(err)
			p.vars = l.bindAny(outer)
		} else {
			p.vars = l.bind(outer, &values, 0)
		}
	} else {
		p.vars = l.bindAny(outer)
	}
	l.body, _ = p.body(keyword, false)
	p.vars = outer
	for _, n := range l.body {
		l.before = l.before || n.past()
	}
	if l.before {
		for _, n := range l.body {
			if !n.past() && !isContainer(n) {
				p.refuse(failAt(n.position(), "this happens in the recording, and the loop at %s is about what was there before it: "+
					"write a loop of its own below", keyword.pos))
				break
			}
		}
	}
	return l
}

// bindAny stands in for a header that could not be read, so that the body can.
func (l *loop) bindAny(vars *binding) *binding {
	if l.variable == "" {
		return vars
	}
	return &binding{name: l.variable, value: "1", outer: vars}
}

// readRange reads FIRST..LAST; ok is false where a word is none.
func readRange(w word) (r rounds, ok bool, err error) {
	from, to, found := strings.Cut(w.text, "..")
	first, okFirst := whole(from)
	last, okLast := whole(to)
	if !found || !okFirst || !okLast {
		return rounds{}, false, nil
	}
	const most = math.MaxInt32
	if first < -most || last > most || last < first {
		return rounds{}, true, failAt(w.pos, "%s: write the lower number first, and both within %d", w.text, most)
	}
	return rounds{count: int(last - first + 1), first: first}, true, nil
}

func whole(text string) (n int64, ok bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// step reads a statement of one line, with the pause before it: +DURATION, or at DURATION after the beginning.
func (p *parser) step(words line) node {
	s := &step{words: words, keyword: words[0]}
	var err error
	switch first := words[0].text; {
	case strings.HasPrefix(first, "+"):
		r := &reader{words: line{{text: first[1:], pos: words[0].pos}}, at: words[0].pos}
		s.pause = pause{after: r.span("the pause"), given: true}
		s.words, err = words[1:], r.err
	case first == "at":
		r := &reader{words: words[1:], usage: "at DURATION [STATEMENT]", at: words[0].pos}
		s.pause = pause{after: r.span("the time after the beginning"), given: true, absolute: true}
		s.words, err = r.words, r.err
	}
	if err != nil {
		p.refuse(err)
		return nil
	}
	if len(s.words) == 0 {
		return s
	}
	s.keyword = s.words[0]
	bound, err := s.words.expand(p.vars)
	if err != nil {
		p.refuse(err)
		return nil
	}
	o, err := readOp(bound)
	if err != nil {
		p.refuse(err)
		return nil
	}
	if !s.words.hasVariables() {
		s.op = o
	}
	_, s.before = o.(*placing)
	if a, ok := o.(*act); ok {
		s.before = a.had
	}
	if s.before && s.pause.given {
		p.refuse(failAt(s.keyword.pos, "this was there before the recording: leave out the time before it"))
	}
	return s
}

// isKeyword reports whether no process can be called by a name.
func isKeyword(name string) bool {
	for _, words := range []map[string]string{settings, blocks, statements} {
		if _, ok := words[name]; ok {
			return true
		}
	}
	return name == "at"
}

// keywords are the words that statements other than those of processes begin with, in order.
func keywords() []string {
	words := []string{"at"}
	for _, known := range []map[string]string{settings, blocks, statements} {
		words = slices.AppendSeq(words, maps.Keys(known))
	}
	slices.Sort(words)
	return words
}

package live

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Lines reads alerts as Falco prints them, one JSON object a line, of any length, to the end. Empty lines are passed over.
type Lines struct {
	Name string                        // for people: a file's name, stdin
	Open func() (io.ReadCloser, error) // is closed at the end
}

// Run sends what it reads until the end, which is no error, or until ctx is done.
func (l Lines) Run(ctx context.Context, out chan<- Received) error {
	done := make(chan error, 1)
	go func() { done <- l.read(ctx, out) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return nil // a pipe that nobody writes to keeps the reader, and nothing can end that
	}
}

func (l Lines) read(ctx context.Context, out chan<- Received) (err error) {
	r, err := l.Open()
	if err != nil {
		return fmt.Errorf("read alerts: %w", err)
	}
	defer func() { _ = r.Close() }() // only read
	numbered := lines{name: l.Name}
	for br := bufio.NewReader(r); ; {
		line, err := br.ReadBytes('\n')
		if !numbered.send(ctx, out, line) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read alerts from %s: %w", l.Name, err)
		}
	}
}

// lines counts the lines of a source.
type lines struct {
	name string
	n    int // the last line's number, from 1
}

// send hands over what a line holds. It returns false where ctx ended.
func (l *lines) send(ctx context.Context, out chan<- Received, line []byte) bool {
	l.n++
	if len(bytes.TrimSpace(line)) == 0 {
		return ctx.Err() == nil
	}
	a, err := parse(line)
	if err != nil {
		at := fmt.Sprintf("%s:%d", l.name, l.n)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			indent := len(line) - len(bytes.TrimLeft(line, " \t\r\n"))
			at += fmt.Sprintf(":%d", indent+int(syntax.Offset))
		}
		return send(ctx, out, Received{Bad: fmt.Errorf("%s: %w", at, err)})
	}
	return send(ctx, out, Received{Alert: a})
}

package live

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An alert of each kind that sources meet, as one line.
const (
	staged = `{"hostname":"n1","output":"o","output_fields":{"staging.bytes":18446744073709551615},"priority":"Notice",` +
		`"rule":"Staged","source":"syscall","tags":["T1074"],"time":"2026-11-23T17:02:23.801166850Z"}`
	egress = `{"output_fields":{"fd.name":"<NA>"},"priority":"Warning","rule":"Egress","time":"2026-11-23T17:02:24Z","later":1}`
)

// source is what has a Run.
type source interface {
	Run(ctx context.Context, out chan<- Received) error
}

// running is a source under test.
type running struct {
	t     *testing.T
	out   chan Received
	ended chan error
	stop  context.CancelFunc
}

// start runs a source until the test ends.
func start(t *testing.T, s source) running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := running{t: t, out: make(chan Received), ended: make(chan error, 1), stop: stop}
	go func() { r.ended <- s.Run(ctx, r.out) }()
	t.Cleanup(stop)
	return r
}

// next is what the source sends next.
func (r running) next() Received {
	r.t.Helper()
	select {
	case got := <-r.out:
		return got
	case err := <-r.ended:
		require.FailNow(r.t, "the source ended", "%v", err)
	case <-time.After(10 * time.Second):
		require.FailNow(r.t, "nothing came")
	}
	return Received{}
}

// rule is the rule of the alert that comes next.
func (r running) rule() string {
	r.t.Helper()
	got := r.next()
	require.NoError(r.t, got.Bad)
	require.Empty(r.t, got.Note)
	return got.Alert.Rule
}

// end waits until the source has ended.
func (r running) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case got := <-r.out:
		require.FailNow(r.t, "something came", "%+v", got)
	case <-time.After(10 * time.Second):
		require.FailNow(r.t, "the source did not end")
	}
	return nil
}

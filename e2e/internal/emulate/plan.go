package emulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Command is a program with its arguments.
type Command struct {
	Argv   []string
	Script string // the last argument: a shell script, printed by itself, with the functions that it calls before it
	Stdin  string
	Does   string // for people; empty where the command says it
}

// argv is all arguments.
func (c Command) argv() []string {
	if c.Script == "" {
		return c.Argv
	}
	return append(c.Argv[:len(c.Argv):len(c.Argv)], complete(c.Script))
}

// String is the command as one would type it, without the functions.
func (c Command) String() string {
	var b strings.Builder
	for i, arg := range c.Argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(quote(arg))
	}
	if c.Script != "" {
		b.WriteString(" " + quote(c.Script))
	}
	if c.Stdin != "" {
		b.WriteString(" <<'EOF'\n" + strings.TrimRight(c.Stdin, "\n") + "\nEOF")
	}
	return b.String()
}

// quote makes one word of the shell of any text.
func quote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@%+") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// Plan is the commands of a scene.
type Plan struct {
	Fetch []Command // what may take long and leaves nothing behind that must be cleared up
	SetUp []Command
	Act   []Command
	Clear []Command // each of them works whatever was set up
}

// Print writes the commands for people.
func (p Plan) Print(w io.Writer) error {
	for _, part := range []struct {
		name     string
		commands []Command
	}{{"fetch", p.Fetch}, {"set up", p.SetUp}, {"act", p.Act}, {"clear up", p.Clear}} {
		if len(part.commands) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "  %s:\n", part.name); err != nil {
			return err
		}
		for _, c := range part.commands {
			text := c.String()
			if c.Does != "" {
				text = "# " + c.Does + "\n" + text
			}
			if _, err := fmt.Fprintf(w, "    %s\n", strings.ReplaceAll(text, "\n", "\n    ")); err != nil {
				return err
			}
		}
	}
	return nil
}

// Time limits of what is not cut short: setting up, so that it is known what there is to clear up, and clearing up.
const (
	setUpLimit = 3 * time.Minute
	clearLimit = time.Minute
)

// Run runs the commands in order until one fails or the context ends, and clears up in any case. log gets what is done, and
// what could not be cleared up with the command to do it by hand.
func (p Plan) Run(ctx context.Context, log io.Writer) error {
	for _, c := range p.Fetch {
		if err := c.run(ctx, log); err != nil {
			return err
		}
	}
	return errors.Join(p.act(ctx, log), p.clear(ctx, log))
}

func (p Plan) act(ctx context.Context, log io.Writer) error {
	for _, c := range p.SetUp {
		if err := ctx.Err(); err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), setUpLimit)
		err := c.run(limited, log)
		cancel()
		if err != nil {
			return err
		}
	}
	for _, c := range p.Act {
		if err := c.run(ctx, log); err != nil {
			return err
		}
	}
	return nil
}

func (p Plan) clear(ctx context.Context, log io.Writer) error {
	failed := 0
	for _, c := range p.Clear {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearLimit)
		if err := c.run(limited, log); err != nil {
			failed++
			fmt.Fprintf(log, "  clear up: %v; by hand:\n%s\n", err, c)
		}
		cancel()
	}
	if failed > 0 {
		return fmt.Errorf("clear up: %d of %d commands failed, see above", failed, len(p.Clear))
	}
	return nil
}

// run runs the command. What it wrote is in the error.
func (c Command) run(ctx context.Context, log io.Writer) error {
	if c.Does != "" {
		fmt.Fprintf(log, "  %s\n", c.Does)
	}
	argv := c.argv()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(c.Stdin)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	// An interrupt of the terminal is for this program alone: it decides what is cut short. What the command started goes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // it ended well, and something that it started goes on, as it should
	}
	if err != nil {
		does := c.Does
		if does == "" {
			does = argv[0]
		}
		return fmt.Errorf("%s: %w: %s", does, err, strings.TrimSpace(said.String()))
	}
	return nil
}

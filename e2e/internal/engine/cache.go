package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cache"
)

// Cache keeps what replays gave, so that one whose every input is as it was need not run again. Only a replay without an error
// is kept. A nil *Cache keeps nothing.
type Cache struct {
	dir  *cache.Dir
	log  *journal
	self string // SHA-256 of this program: it expands rules and makes alerts of what engines print
	host string // what alerts of a capture without a host name say
	sums sums
}

// NewCache keeps results in a folder. log gets what engines said when a result was made.
func NewCache(dir *cache.Dir, log io.Writer) (*Cache, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("open the cache: %w", err)
	}
	c := &Cache{dir: dir, log: newJournal(log)}
	if c.self, err = c.sums.of(exe); err != nil {
		return nil, fmt.Errorf("open the cache: %w", err)
	}
	if c.host, err = os.Hostname(); err != nil {
		return nil, fmt.Errorf("open the cache: %w", err)
	}
	return c, nil
}

// Trim removes what was used least recently where the folder is too large.
func (c *Cache) Trim() error {
	if c == nil {
		return nil
	}
	return c.dir.Trim()
}

// cached is an entry: what a replay gave and what it left.
type cached struct {
	Alerts []alert.Alert `json:"alerts"`
	Log    string        `json:"log,omitempty"`
	State  []byte        `json:"state,omitempty"` // of the request's State afterwards; empty where there is none
}

// Replay is eng.Replay, or what it gave before; hit tells which.
func (c *Cache) Replay(ctx context.Context, eng Engine, req Request) (alerts []alert.Alert, hit bool, err error) {
	if c == nil {
		alerts, err = eng.Replay(ctx, req)
		return alerts, false, err
	}
	key, err := c.key(ctx, eng, req)
	if err != nil {
		// Whatever cannot be read is for the engine to complain about.
		alerts, err = eng.Replay(ctx, req)
		return alerts, false, err
	}
	if e, ok := c.get(key); ok {
		if err := e.restore(req); err != nil {
			return nil, false, err
		}
		c.log.tell(req, e.Log)
		return e.Alerts, true, nil
	}
	var log bytes.Buffer
	logged := req
	logged.Log = &log
	alerts, err = eng.Replay(ctx, logged)
	c.log.tell(req, log.String())
	if err != nil {
		return alerts, false, err
	}
	e := cached{Alerts: alerts, Log: log.String()}
	if req.State != "" {
		if e.State, err = os.ReadFile(req.State); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, false, fmt.Errorf("read the baseline: %w", err)
		}
	}
	// A file that was changed meanwhile, a plugin that was built, gave who knows what.
	if now, err := c.inputs(ctx, eng, req); err == nil && now == key.inputs {
		c.put(key, e)
	}
	return alerts, false, nil
}

// restore leaves the request's State as the replay left it.
func (e cached) restore(req Request) error {
	if req.State == "" || len(e.State) == 0 {
		return nil
	}
	if now, err := os.ReadFile(req.State); err == nil && bytes.Equal(now, e.State) {
		return nil
	}
	if err := replaceFile(req.State, e.State); err != nil {
		return fmt.Errorf("keep the baseline: %w", err)
	}
	return nil
}

func (c *Cache) get(key key) (cached, bool) {
	data, ok := c.dir.Get(key.sum())
	if !ok {
		return cached{}, false
	}
	var e cached
	if json.Unmarshal(data, &e) != nil {
		return cached{}, false
	}
	return e, true
}

// put keeps a result. A cache that cannot be written is no reason to fail.
func (c *Cache) put(key key, e cached) {
	data, err := json.Marshal(e)
	if err == nil {
		err = c.dir.Put(key.sum(), data)
	}
	if err != nil {
		c.log.say(fmt.Sprintf("the cache keeps nothing: %v\n", err))
	}
}

// key is everything that a replay depends on.
type key struct {
	inputs string // SHA-256 of all but the state
	state  string // SHA-256 of the state before; empty where there is none
}

func (k key) sum() string {
	sum := sha256.Sum256([]byte(k.inputs + " " + k.state))
	return hex.EncodeToString(sum[:])
}

func (c *Cache) key(ctx context.Context, eng Engine, req Request) (k key, err error) {
	if k.inputs, err = c.inputs(ctx, eng, req); err != nil {
		return key{}, err
	}
	if req.State != "" {
		// Read each time: it changes faster than the clock of files ticks.
		state, err := os.ReadFile(req.State)
		switch {
		case err == nil:
			sum := sha256.Sum256(state)
			k.state = hex.EncodeToString(sum[:])
		case !errors.Is(err, fs.ErrNotExist):
			return key{}, err
		}
	}
	return k, nil
}

// cacheFormat counts the layouts of entries.
const cacheFormat = 1

// inputs is the SHA-256 of all that a replay depends on but the state.
func (c *Cache) inputs(ctx context.Context, eng Engine, req Request) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s %s %q %q %v %d\n", cacheFormat, c.self, runtime.GOARCH, c.host, eng.Name(), req.NoText, req.Limit)
	for _, file := range []string{req.Capture, req.Plugin} {
		if err := c.sums.write(h, file); err != nil {
			return "", err
		}
	}
	if err := c.writeInitConfig(h, req); err != nil {
		return "", err
	}
	if err := eng.Fingerprint(ctx, req, h); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeInitConfig writes the init_config with its keys in order, and the content of the baseline that it names.
func (c *Cache) writeInitConfig(h hash.Hash, req Request) error {
	config, section, err := baselineSection(req.InitConfig)
	if err != nil {
		return err
	}
	var file, auditFile, mode string
	for key, value := range map[string]*string{"file": &file, "audit_file": &auditFile, "mode": &mode} {
		if raw, ok := section[key]; ok {
			if err := json.Unmarshal(raw, value); err != nil {
				return err
			}
		}
	}
	if req.State != "" {
		file, auditFile = "", "" // they do not count
	}
	if file != "" && auditFile == "" {
		auditFile = file + ".k8s_audit" // as the plugin names it
	}
	if auditFile != "" && mode != "detect" {
		return errors.New("a replay that writes a baseline is not kept")
	}
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%d %s %v\n", len(text), text, req.State != "")
	for _, path := range []string{file, auditFile} {
		if err := c.sums.write(h, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// sums remembers the SHA-256 of files that have not changed since, as far as size and time tell.
type sums struct {
	mu   sync.Mutex
	seen map[string]fileSum
}

type fileSum struct {
	size    int64
	changed time.Time
	sum     string
}

// of is the SHA-256 of a file's content in hexadecimal.
func (s *sums) of(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	old, ok := s.seen[path]
	s.mu.Unlock()
	if ok && old.size == info.Size() && old.changed.Equal(info.ModTime()) {
		return old.sum, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]fileSum{}
	}
	s.seen[path] = fileSum{info.Size(), info.ModTime(), sum}
	return sum, nil
}

// write writes the SHA-256 of a file; an empty path is written as such.
func (s *sums) write(w io.Writer, path string) error {
	sum := "none"
	if path != "" {
		var err error
		if sum, err = s.of(path); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, sum)
	return err
}

package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// state is a request's State while processes of an engine run. A rule of sysdig has a process of its own, so each
// process works on a copy, and the first copy that a process leaves after the whole capture is kept: all leave the same.
type state struct {
	path string // of the request's file; empty for none
	dir  string // of the copies

	mu     sync.Mutex
	copies int
	kept   string // the copy that takes the file's place
}

// openState makes room for the copies in the system's folder of temporary files.
func openState(req Request) (*state, error) {
	if req.State == "" {
		return &state{}, nil
	}
	path, err := filepath.Abs(req.State)
	if err != nil {
		return nil, fmt.Errorf("find the baseline: %w", err)
	}
	dir, err := os.MkdirTemp("", "datastaging-state-")
	if err != nil {
		return nil, err
	}
	return &state{path: path, dir: dir}, nil
}

// give makes a copy for one process and returns the init_config that names it.
func (s *state) give(initConfig json.RawMessage) (config json.RawMessage, path string, err error) {
	if s.path == "" {
		return initConfig, "", nil
	}
	s.mu.Lock()
	s.copies++
	// The plugin leaves files beside its own.
	path = filepath.Join(s.dir, strconv.Itoa(s.copies), "baseline")
	s.mu.Unlock()
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		return nil, "", err
	}
	if err := copyFile(s.path, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("read the baseline: %w", err)
	}
	config, err = withBaselineFile(initConfig, path)
	return config, path, err
}

// keep notes the copy of a process that read the whole capture.
func (s *state) keep(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == "" {
		s.kept = path
	}
}

// commit puts the copy that was kept in the file's place. A plugin that learned nothing has left none.
func (s *state) commit() error {
	if s.kept == "" {
		return nil
	}
	content, err := os.ReadFile(s.kept)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep the baseline: %w", err)
	}
	if err := replaceFile(s.path, content); err != nil {
		return fmt.Errorf("keep the baseline: %w", err)
	}
	return nil
}

func (s *state) clean() {
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

// borrowing gives a request a copy of its state in a folder: what is learned meanwhile is nobody's.
func borrowing(req Request, dir string) (Request, error) {
	if req.State == "" {
		return req, nil
	}
	state := filepath.Join(dir, "baseline")
	if err := copyFile(req.State, state); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return req, fmt.Errorf("read the baseline: %w", err)
	}
	req.State = state
	return req, nil
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

// replaceFile writes all of a file or nothing.
func replaceFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if err := errors.Join(err, tmp.Close()); err != nil {
		os.Remove(tmp.Name())
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		os.Remove(tmp.Name())
		return err
	}
	return nil
}

// withBaselineFile returns an init_config whose baseline is kept in path, whatever the events are. All else keeps its text: numbers their digits.
func withBaselineFile(initConfig json.RawMessage, path string) (json.RawMessage, error) {
	config, section, err := baselineSection(initConfig)
	if err != nil {
		return nil, err
	}
	if section["file"], err = json.Marshal(path); err != nil {
		return nil, err
	}
	section["audit_file"] = section["file"] // one capture has events of one source
	if config["baseline"], err = json.Marshal(section); err != nil {
		return nil, err
	}
	return json.Marshal(config)
}

// baselineSection reads an init_config and its baseline section; both are empty rather than nil where they are not there.
func baselineSection(initConfig json.RawMessage) (config, section map[string]json.RawMessage, err error) {
	if len(initConfig) > 0 {
		if err := json.Unmarshal(initConfig, &config); err != nil {
			return nil, nil, fmt.Errorf("read the plugin's configuration: %w", err)
		}
	}
	if config == nil {
		config = map[string]json.RawMessage{}
	}
	if raw, ok := config["baseline"]; ok {
		if err := json.Unmarshal(raw, &section); err != nil {
			return nil, nil, errors.New("read the plugin's configuration: baseline: want a mapping of option: value")
		}
	}
	if section == nil {
		section = map[string]json.RawMessage{}
	}
	return config, section, nil
}

// Package enginetest plays the engine's part of the plugin API for tests: it loads a real plugin library, answers its
// table look-ups and feeds it raw events.
package enginetest

/*
#cgo CFLAGS: -I${SRCDIR}/../include -Wall -Wextra -Wno-unused-parameter
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "engine.h"

static const char* call_name(et_engine* e) { return e->api.get_name(); }
static const char* call_fields(et_engine* e) { return e->api.get_fields(); }
static const char* call_api_version(et_engine* e) { return e->api.get_required_api_version(); }
static const char* call_schema_version(et_engine* e) { return e->api.get_required_event_schema_version(NULL); }
static const char* call_parse_sources(et_engine* e) { return e->api.get_parse_event_sources(); }
static const char* call_extract_sources(et_engine* e) { return e->api.get_extract_event_sources(); }
static uint16_t* call_parse_types(et_engine* e, uint32_t* n) { return e->api.get_parse_event_types(n, e->plugin); }
static const char* call_init_schema(et_engine* e) { ss_plugin_schema_type t; return e->api.get_init_schema(&t); }
static ss_plugin_metric* call_metrics(et_engine* e, uint32_t* n) { return e->api.get_metrics(e->plugin, n); }
*/
import "C"

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"
)

// Engine is one engine with one plugin instance in it.
type Engine struct {
	c      *C.et_engine
	fields map[string]field
}

type field struct {
	id  int
	typ string
}

// Thread is one entry of the engine's threads table.
type Thread struct {
	TID, PID, VPID               int64
	Exe, ContainerID, CgroupPath string
}

// FD is one descriptor of a thread: a file where Name is set, else an IPv4 socket.
type FD struct {
	FD       int64
	Type     uint8 // scap_fd_type
	Flags    uint32
	Name     string
	Dev      uint32
	Ino      uint64
	Src, Dst netip.AddrPort
}

// Open loads the plugin library without starting an instance.
func Open(path string) (*Engine, error) {
	var msg [512]C.char
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	e := &Engine{c: C.et_open(cpath, &msg[0], C.int(len(msg)))}
	if e.c == nil {
		return nil, errors.New(C.GoString(&msg[0]))
	}
	var entries []struct{ Name, Type string }
	if err := json.Unmarshal([]byte(C.GoString(C.call_fields(e.c))), &entries); err != nil {
		return nil, fmt.Errorf("read the field list: %w", err)
	}
	e.fields = map[string]field{}
	for id, f := range entries {
		e.fields[f.Name] = field{id, f.Type}
	}
	return e, nil
}

// HideTables makes this an engine that has no threads table, as those before state tables were.
func (e *Engine) HideTables() { e.c.missing_table = 1 }

// Init starts the instance; its error is the plugin's last error.
func (e *Engine) Init(config string) error {
	cconfig := C.CString(config)
	defer C.free(unsafe.Pointer(cconfig))
	return e.result(C.et_init(e.c, cconfig))
}

func (e *Engine) result(rc C.int) error {
	if rc != 0 {
		return errors.New(C.GoString(C.et_last_error(e.c)))
	}
	return nil
}

// CaptureClose tells the plugin that the capture has ended.
func (e *Engine) CaptureClose() error { return e.result(C.et_capture_close(e.c)) }

// Close destroys the instance; the tables are gone by then.
func (e *Engine) Close() { C.et_close(e.c) }

// AddThread adds a thread to the table; what it names stays in memory as the engine's would.
func (e *Engine) AddThread(t Thread) {
	c := &e.c.threads[e.c.num_threads]
	e.c.num_threads++
	*c = C.et_thread{
		tid: C.int64_t(t.TID), pid: C.int64_t(t.PID), vpid: C.int64_t(t.VPID),
		exe: C.CString(t.Exe), container_id: C.CString(t.ContainerID), cgroup: C.CString(t.CgroupPath),
	}
}

// AddFD adds a descriptor to the thread that was added last.
func (e *Engine) AddFD(f FD) {
	t := &e.c.threads[e.c.num_threads-1]
	c := &t.fds[t.num_fds]
	t.num_fds++
	*c = C.et_fd{fd: C.int64_t(f.FD), _type: C.uint8_t(f.Type), flags: C.uint32_t(f.Flags), dev: C.uint32_t(f.Dev), ino: C.uint64_t(f.Ino), name: C.CString(f.Name)}
	if f.Src.IsValid() {
		src, dst := f.Src.Addr().As4(), f.Dst.Addr().As4()
		c.v4_src, c.v4_dst = C.uint32_t(binary.NativeEndian.Uint32(src[:])), C.uint32_t(binary.NativeEndian.Uint32(dst[:]))
		c.sport, c.dport = C.uint16_t(f.Src.Port()), C.uint16_t(f.Dst.Port())
	}
}

// Parse gives the plugin one event.
func (e *Engine) Parse(raw []byte, num uint64) error {
	return e.result(C.et_parse(e.c, (*C.uint8_t)(&raw[0]), C.uint64_t(num)))
}

// ParseMany gives the plugin the same event n times from a loop in C, so that a benchmark measures the plugin alone.
func (e *Engine) ParseMany(raw []byte, first, n uint64) error {
	return e.result(C.et_parse_many(e.c, (*C.uint8_t)(&raw[0]), C.uint64_t(first), C.uint64_t(n)))
}

// Extract asks for a field, with its argument in key unless it is empty. A uint64, string or bool, or nil for no value.
func (e *Engine) Extract(raw []byte, num uint64, name, key string) (any, error) {
	f, ok := e.fields[name]
	if !ok {
		return nil, fmt.Errorf("no field %s", name)
	}
	var ckey *C.char
	if key != "" {
		ckey = C.CString(key)
		defer C.free(unsafe.Pointer(ckey))
	}
	types := map[string]C.uint32_t{"uint64": C.FTYPE_UINT64, "string": C.FTYPE_STRING, "bool": C.FTYPE_BOOL, "reltime": C.FTYPE_RELTIME}
	var u64 C.uint64_t
	var str *C.char
	rc := C.et_extract(e.c, (*C.uint8_t)(&raw[0]), C.uint64_t(num), C.uint32_t(f.id), types[f.typ], ckey, &u64, &str)
	if err := e.result(rc); err != nil || str == nil {
		return nil, err
	}
	switch f.typ {
	case "string":
		return C.GoString(str), nil
	case "bool":
		return u64 != 0, nil
	default:
		return uint64(u64), nil
	}
}

// Log returns what the plugin logged: a line of severity and message each.
func (e *Engine) Log() string { return C.GoString(&e.c.log[0]) }

// Metrics returns the plugin's metrics by name.
func (e *Engine) Metrics() map[string]uint64 {
	var n C.uint32_t
	first := C.call_metrics(e.c, &n)
	metrics := map[string]uint64{}
	for _, m := range unsafe.Slice(first, int(n)) {
		metrics[C.GoString(m.name)] = *(*uint64)(unsafe.Pointer(&m.value))
	}
	return metrics
}

// Info is what the plugin says of itself.
type Info struct {
	Name, APIVersion, SchemaVersion, InitSchema, ParseSources, ExtractSources string
	ParseTypes                                                                []uint16
	Fields                                                                    int
}

// Info asks the plugin about itself.
func (e *Engine) Info() Info {
	var n C.uint32_t
	types := C.call_parse_types(e.c, &n)
	info := Info{
		Name: C.GoString(C.call_name(e.c)), APIVersion: C.GoString(C.call_api_version(e.c)),
		SchemaVersion: C.GoString(C.call_schema_version(e.c)), InitSchema: C.GoString(C.call_init_schema(e.c)),
		ParseSources: C.GoString(C.call_parse_sources(e.c)), ExtractSources: C.GoString(C.call_extract_sources(e.c)),
		Fields: len(e.fields),
	}
	for _, t := range unsafe.Slice(types, int(n)) {
		info.ParseTypes = append(info.ParseTypes, uint16(t))
	}
	return info
}

// Package abi is the C boundary: it exports the plugin API's symbols, hands events to a Handler and values back. It
// stands beside plugin-sdk-go, which brings field extraction, the field list, the init schema and the last error, and
// adds what the SDK lacks: event parsing, state tables and metrics. All cgo and unsafe of the plugin is here.
//
// Events that move bytes stay in C until there is a reason to look at them: the shim copies each into a ring and Go takes
// the whole ring when it is full, when a state event comes, or when a field is asked for. Every other event of interest
// crosses by itself. So a Handler sees all events in order, and a field on an event includes that event.
package abi

/*
#cgo CFLAGS: -I${SRCDIR}/include -Wall -Wextra -Wno-unused-parameter
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"runtime/debug"
	"unsafe"

	"github.com/falcosecurity/plugin-sdk-go/pkg/ptr"
	"github.com/falcosecurity/plugin-sdk-go/pkg/sdk"
	_ "github.com/falcosecurity/plugin-sdk-go/pkg/sdk/symbols/extract" // plugin_extract_fields
	"github.com/falcosecurity/plugin-sdk-go/pkg/sdk/symbols/fields"
	"github.com/falcosecurity/plugin-sdk-go/pkg/sdk/symbols/initschema"
	_ "github.com/falcosecurity/plugin-sdk-go/pkg/sdk/symbols/lasterr" // plugin_get_last_error

	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// APIVersion is the plugin API the plugin needs, as plugin_get_required_api_version returns it.
const APIVersion = "3.11.0"

// Plugin is everything the engine asks a plugin about.
type Plugin struct {
	Name, Description, Contact, Version string
	Fields                              []sdk.FieldEntry
	Schema                              string // JSON schema of the init config
	// New starts one instance. An error refuses the load; its text is what the engine shows.
	New func(config string, host Host) (Handler, error)
}

// Handler is one running instance. All calls but Metrics come from the thread that delivers events.
type Handler interface {
	// IO takes events that moved bytes, oldest first. The batch is valid only during the call.
	IO(batch []decode.IO)
	// State takes one event that changed a thread or a descriptor. It is valid only during the call.
	State(s *decode.State)
	// Extract returns the value of a field on an event: uint64, string, bool, time.Duration, or nil for no value.
	// key is the field's argument, valid only during the call.
	Extract(evt Event, field int, key string, hasKey bool) any
	// Metrics returns the instance's counters. It may be called from any thread.
	Metrics() []Metric
	// Flush is called when a capture ends; another may begin.
	Flush()
	// Close is the last call.
	Close()
}

// Host is what an instance can ask of the engine. Valid only on the thread that delivers events.
type Host interface {
	attribute.Table
	Log(severity Severity, message string)
}

// Event identifies the event a field is asked on.
type Event struct {
	TS  uint64 // ns since the epoch
	TID int64
	Num uint64 // as evt.num shows it
}

// Metric is one counter. Name is in the form that Prometheus takes.
type Metric struct {
	Name  string
	Value uint64
	Gauge bool // may go down
}

// Severity is ss_plugin_log_severity.
type Severity int

const (
	Error   Severity = 3
	Warning Severity = 4
	Info    Severity = 6
)

// The ring's records are read in place, so both sides must agree on their size; either line fails to compile otherwise.
var (
	_ [unsafe.Sizeof(decode.IO{}) - C.sizeof_ds_io]byte
	_ [C.sizeof_ds_io - unsafe.Sizeof(decode.IO{})]byte
)

var (
	registered Plugin
	text       struct{ name, description, contact, version, api, schema, sources *C.char }
	eventTypes *C.uint16_t // C memory: the engine reads it at any time
	numTypes   C.uint32_t
)

// Register names the one plugin of this library. It is called once, before the engine can call anything.
func Register(p Plugin) {
	registered = p
	text.name, text.description = C.CString(p.Name), C.CString(p.Description)
	text.contact, text.version = C.CString(p.Contact), C.CString(p.Version)
	text.api, text.schema = C.CString(APIVersion), C.CString(schema.Version)
	text.sources = C.CString(`["syscall","k8s_audit"]`)
	fields.SetFields(p.Fields)
	initschema.SetInitSchema(&sdk.SchemaInfo{Schema: p.Schema})

	types := make([]schema.Type, 0, len(schema.IOEvents)+len(schema.StateEvents))
	for _, io := range schema.IOEvents {
		types = append(types, io.Type)
	}
	types = append(types, schema.StateEvents...)
	numTypes = C.uint32_t(len(types))
	eventTypes = (*C.uint16_t)(C.malloc(C.size_t(len(types)) * C.sizeof_uint16_t))
	for i, t := range types {
		unsafe.Slice(eventTypes, len(types))[i] = C.uint16_t(t)
	}
}

// instance is one plugin state. It satisfies what the SDK's symbols expect of the value behind a handle.
type instance struct {
	c        *C.ds_instance
	handler  Handler
	requests sdk.ExtractRequestPool
	lastErr  error
	errBuf   ptr.StringBuffer
	state    decode.State
	metrics  metricBuffer
}

var errNone = errors.New("no error")

func (i *instance) LastError() error {
	if i.lastErr == nil {
		return errNone
	}
	return i.lastErr
}
func (i *instance) SetLastError(err error)                         { i.lastErr = err }
func (i *instance) LastErrorBuffer() sdk.StringBuffer              { return &i.errBuf }
func (i *instance) ExtractRequests() sdk.ExtractRequestPool        { return i.requests }
func (i *instance) SetExtractRequests(pool sdk.ExtractRequestPool) { i.requests = pool }

// guard turns a panic into a failed call: one that went through would take the whole agent down.
func (i *instance) guard(call string, failed *error) {
	if r := recover(); r != nil {
		*failed = fmt.Errorf("%s: panic: %v\n%s", call, r, debug.Stack())
		i.lastErr = *failed
	}
}

// start makes the instance's C half and its handler.
func (i *instance) start(in *C.ss_plugin_init_input) (err error) {
	defer i.guard("init", &err)
	if i.c = C.ds_new(in); i.c == nil {
		return errors.New("allocate the event ring: out of memory")
	}
	for _, io := range schema.IOEvents {
		i.c.layout[io.Type] = C.ds_layout{
			class_: C.DS_IO, op: C.uint8_t(io.Op),
			fd: C.uint8_t(io.FD), fd2: C.uint8_t(io.FD2), data: C.uint8_t(io.Data), tuple: C.uint8_t(io.Tuple),
		}
	}
	for _, t := range schema.StateEvents {
		i.c.layout[t] = C.ds_layout{class_: C.DS_STATE}
	}
	if missing := C.ds_open_tables(i.c, in); missing != nil {
		return fmt.Errorf("open state tables: this engine has no %s; Falco 0.42 or later is needed", C.GoString(missing))
	}
	i.handler, err = registered.New(C.GoString(in.config), host{i.c})
	return err
}

// close does not drain the ring: libs frees its tables before it destroys a plugin, and the end of the capture has
// emptied the ring.
func (i *instance) close() (err error) {
	defer i.guard("destroy", &err)
	if i.handler != nil {
		i.handler.Close()
	}
	return nil
}

func (i *instance) captureClosed() (err error) {
	defer i.guard("capture close", &err)
	i.drain()
	i.handler.Flush()
	return nil
}

func (i *instance) free() {
	i.requests.Free()
	i.errBuf.Free()
	i.metrics.free()
	if i.c != nil {
		C.ds_free(i.c)
		i.c = nil
	}
}

// drain hands the ring's records to the handler. No C is called: both sides run on the thread that delivers events.
func (i *instance) drain() {
	n := i.c.used
	if n == 0 {
		return
	}
	// First: a handler that panics on a record must not meet it again.
	i.c.used = 0
	i.handler.IO(unsafe.Slice((*decode.IO)(unsafe.Pointer(&i.c.ring[0])), int(n)))
}

func (i *instance) drainAll() (err error) {
	defer i.guard("drain", &err)
	i.drain()
	return nil
}

func (i *instance) parse(raw []byte, num uint64) (err error) {
	defer i.guard("parse", &err)
	i.drain()
	changed, err := decode.Parse(raw, num, &i.state)
	if err != nil {
		i.c.malformed++
		return err
	}
	if changed {
		i.handler.State(&i.state)
	}
	return nil
}

// Extract answers one field request of the SDK.
func (i *instance) Extract(req sdk.ExtractRequest, evt sdk.EventReader) (err error) {
	defer i.guard("extract", &err)
	// The SDK shows plugin events alone; the thread id of a syscall is behind the pointer that its reader wraps.
	in := (*C.ss_plugin_event_input)(reflect.ValueOf(evt).UnsafePointer())
	raw := unsafe.Slice((*byte)(unsafe.Pointer(in.evt)), decode.HeaderSize)
	e := Event{TS: evt.Timestamp(), TID: decode.TID(raw), Num: evt.EventNum()}
	// An inspector's own filter, which Falco does not use, sees events that change no state before plugins parse them.
	if uint64(i.c.seen_num) != e.Num || uint64(i.c.seen_ts) != e.TS {
		if C.ds_take(i.c, unsafe.Pointer(in.evt), C.uint64_t(e.Num)) != C.int32_t(sdk.SSPluginSuccess) {
			return i.lastErr
		}
	}
	i.drain()
	if v := i.handler.Extract(e, int(req.FieldID()), req.ArgKey(), req.ArgPresent()); v != nil {
		req.SetValue(v)
	}
	return nil
}

// host answers Host from libs' tables.
type host struct{ c *C.ds_instance }

func (h host) Thread(tid int64) (attribute.Thread, bool) {
	var t C.ds_thread
	if !C.ds_read_thread(h.c, C.int64_t(tid), &t) {
		return attribute.Thread{}, false
	}
	return attribute.Thread{
		PID: int64(t.pid), VPID: int64(t.vpid),
		Exe: ptr.GoString(unsafe.Pointer(t.exe)), ContainerID: ptr.GoString(unsafe.Pointer(t.container_id)),
	}, true
}

func (h host) Cgroup(tid int64, i int) (string, bool) {
	path := C.ds_read_cgroup(h.c, C.int64_t(tid), C.uint64_t(i))
	return ptr.GoString(unsafe.Pointer(path)), path != nil
}

func (h host) FD(tid int64, fd int32) (attribute.FD, bool) {
	var f C.ds_fd
	if !C.ds_read_fd(h.c, C.int64_t(tid), C.int64_t(fd), &f) {
		return attribute.FD{}, false
	}
	out := attribute.FD{Type: schema.FDType(f._type), Flags: uint32(f.flags)}
	switch out.Type {
	case schema.FDIPv4, schema.FDIPv6:
		size := 4
		if out.Type == schema.FDIPv6 {
			size = 16
		}
		out.Src = endpoint(&f.src, size, uint16(f.sport))
		out.Dst = endpoint(&f.dst, size, uint16(f.dport))
	case schema.FDUnix:
		out.UnixSrc, out.UnixDst = uint64(f.unix_src), uint64(f.unix_dst)
	default:
		out.Name, out.Dev, out.Ino = ptr.GoString(unsafe.Pointer(f.name)), uint32(f.dev), uint64(f.ino)
	}
	return out, true
}

func endpoint(b *[16]C.uint8_t, size int, port uint16) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(unsafe.Slice((*byte)(unsafe.Pointer(b)), size)) // size is 4 or 16
	return netip.AddrPortFrom(addr.Unmap(), port)
}

func (h host) Log(severity Severity, message string) {
	msg := C.CString(message)
	defer C.free(unsafe.Pointer(msg))
	C.ds_log(h.c, msg, C.int(severity))
}

// metricBuffer is the array that plugin_get_metrics hands out, valid until the next call.
type metricBuffer struct {
	c     *C.ss_plugin_metric
	names []*C.char
}

func (b *metricBuffer) fill(metrics []Metric) (*C.ss_plugin_metric, C.uint32_t) {
	b.free()
	if len(metrics) == 0 {
		return nil, 0
	}
	b.c = (*C.ss_plugin_metric)(C.calloc(C.size_t(len(metrics)), C.sizeof_ss_plugin_metric))
	out := unsafe.Slice(b.c, len(metrics))
	for i, m := range metrics {
		name := C.CString(m.Name)
		b.names = append(b.names, name)
		out[i].name = name
		out[i].value_type = C.SS_PLUGIN_METRIC_VALUE_TYPE_U64
		out[i]._type = C.SS_PLUGIN_METRIC_TYPE_MONOTONIC
		if m.Gauge {
			out[i]._type = C.SS_PLUGIN_METRIC_TYPE_NON_MONOTONIC
		}
		*(*C.uint64_t)(unsafe.Pointer(&out[i].value)) = C.uint64_t(m.Value)
	}
	return b.c, C.uint32_t(len(metrics))
}

func (b *metricBuffer) free() {
	for _, name := range b.names {
		C.free(unsafe.Pointer(name))
	}
	C.free(unsafe.Pointer(b.c))
	b.c, b.names = nil, nil
}

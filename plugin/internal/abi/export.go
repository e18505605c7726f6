package abi

/*
#cgo CFLAGS: -I${SRCDIR}/include
#include "shim.h"
*/
import "C"

import (
	"unsafe"

	"github.com/falcosecurity/plugin-sdk-go/pkg/cgo"
	"github.com/falcosecurity/plugin-sdk-go/pkg/sdk"
)

// The symbols of the plugin API that need Go. plugin_parse_event is in shim.c; plugin_extract_fields, plugin_get_fields,
// plugin_get_init_schema and plugin_get_last_error are the SDK's.

//export plugin_get_required_api_version
func plugin_get_required_api_version() *C.char { return text.api }

//export plugin_get_required_event_schema_version
func plugin_get_required_event_schema_version(C.uintptr_t) *C.char { return text.schema }

//export plugin_get_name
func plugin_get_name() *C.char { return text.name }

//export plugin_get_description
func plugin_get_description() *C.char { return text.description }

//export plugin_get_contact
func plugin_get_contact() *C.char { return text.contact }

//export plugin_get_version
func plugin_get_version() *C.char { return text.version }

//export plugin_get_extract_event_sources
func plugin_get_extract_event_sources() *C.char { return text.sources }

//export plugin_get_parse_event_sources
func plugin_get_parse_event_sources() *C.char { return text.sources }

//export plugin_get_parse_event_types
func plugin_get_parse_event_types(n *C.uint32_t, _ C.uintptr_t) *C.uint16_t {
	*n = numTypes
	return eventTypes
}

// plugin_init returns a state even when it fails, because that is what plugin_get_last_error needs to tell why.
//
//export plugin_init
func plugin_init(in *C.ss_plugin_init_input, rc *C.int32_t) C.uintptr_t {
	i := &instance{requests: sdk.NewExtractRequestPool()}
	handle := cgo.NewHandle(i)
	*rc = C.int32_t(sdk.SSPluginSuccess)
	if err := i.start(in); err != nil {
		i.lastErr = err
		*rc = C.int32_t(sdk.SSPluginFailure)
		return C.uintptr_t(handle)
	}
	C.ds_attach(i.c, C.uintptr_t(handle))
	return C.uintptr_t(handle)
}

//export plugin_destroy
func plugin_destroy(state C.uintptr_t) {
	if state == 0 {
		return
	}
	i := of(state)
	_ = i.close() // nobody is left to tell
	i.free()
	cgo.Handle(state).Delete()
}

//export plugin_capture_open
func plugin_capture_open(C.uintptr_t, *C.ss_plugin_capture_listen_input) C.int32_t { return rc(nil) }

//export plugin_capture_close
func plugin_capture_close(state C.uintptr_t, _ *C.ss_plugin_capture_listen_input) C.int32_t {
	return rc(of(state).captureClosed())
}

//export datastagingDrain
func datastagingDrain(state C.uintptr_t) C.int32_t { return rc(of(state).drainAll()) }

//export datastagingState
func datastagingState(state C.uintptr_t, evt unsafe.Pointer, size C.uint32_t, num C.uint64_t) C.int32_t {
	i := of(state)
	err := i.parse(unsafe.Slice((*byte)(evt), int(size)), uint64(num))
	if err != nil {
		i.lastErr = err
	}
	return rc(err)
}

//export plugin_get_metrics
func plugin_get_metrics(state C.uintptr_t, n *C.uint32_t) *C.ss_plugin_metric {
	*n = 0
	if state == 0 {
		return nil
	}
	i := of(state)
	if i.handler == nil {
		return nil
	}
	metrics := append(i.handler.Metrics(), Metric{Name: "events_malformed", Value: uint64(i.c.malformed)})
	var first *C.ss_plugin_metric
	first, *n = i.metrics.fill(metrics)
	return first
}

func of(state C.uintptr_t) *instance { return cgo.Handle(state).Value().(*instance) }

func rc(err error) C.int32_t {
	if err != nil {
		return C.int32_t(sdk.SSPluginFailure)
	}
	return C.int32_t(sdk.SSPluginSuccess)
}

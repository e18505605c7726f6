// SPDX-License-Identifier: Apache-2.0
#include "shim.h"

#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

// Instances by their handle: plugin-sdk-go hands out handles 1 to 255, and its handle is the plugin state.
static ds_instance* instances[256];

ds_instance* ds_new(const ss_plugin_init_input* in) {
	ds_instance* d = calloc(1, sizeof(*d));
	if(d != NULL) {
		d->owner = in->owner;
		d->log = in->log_fn;
	}
	return d;
}

void ds_attach(ds_instance* d, uintptr_t handle) {
	d->handle = handle;
	instances[handle & 0xff] = d;
}

void ds_free(ds_instance* d) {
	if(instances[d->handle & 0xff] == d) {
		instances[d->handle & 0xff] = NULL;
	}
	free(d);
}

void ds_log(ds_instance* d, const char* msg, int severity) {
	if(d->log != NULL) {
		d->log(d->owner, NULL, msg, (ss_plugin_log_severity)severity);
	}
}

// Events.

#define HEADER_SIZE 26
#define OFFSET_TID 8
#define OFFSET_LEN 16
#define OFFSET_TYPE 20
#define OFFSET_NPARAMS 22
#define MAX_PARAMS 8  // of the event types with class DS_IO

static uint16_t load16(const uint8_t* p) {
	uint16_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t load32(const uint8_t* p) {
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t load64(const uint8_t* p) {
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

// A descriptor parameter is 8 bytes in schema 4; anything else means "not known".
static int32_t load_fd(const uint8_t* p, uint16_t len) {
	return len == 8 ? (int32_t)(int64_t)load64(p) : -1;
}

// Fills a record from an I/O event. Returns 1 when the event moved bytes, 0 when not, -1 when it is cut short.
static int decode_io(const ds_layout* layout, const uint8_t* evt, uint64_t num, ds_io* io) {
	uint32_t len = load32(evt + OFFSET_LEN);
	uint32_t nparams = load32(evt + OFFSET_NPARAMS);
	if(len < HEADER_SIZE || nparams > MAX_PARAMS || len - HEADER_SIZE < nparams * 2) {
		return -1;
	}

	const uint8_t* param[MAX_PARAMS];
	uint16_t size[MAX_PARAMS];
	const uint8_t* next = evt + HEADER_SIZE + nparams * 2;
	const uint8_t* end = evt + len;
	for(uint32_t i = 0; i < nparams; i++) {
		size[i] = load16(evt + HEADER_SIZE + i * 2);
		param[i] = next;
		if(end - next < size[i]) {
			return -1;
		}
		next += size[i];
	}
#define HAS(index) ((index) < nparams)
	if(!HAS(0) || size[0] != 8 || !HAS(layout->fd)) {
		return -1;
	}
	int64_t res = (int64_t)load64(param[0]);
	if(res <= 0) {
		return 0;
	}

	io->ts = load64(evt);
	io->tid = (int64_t)load64(evt + OFFSET_TID);
	io->num = num;
	io->bytes = (uint64_t)res;
	io->fd = load_fd(param[layout->fd], size[layout->fd]);
	io->fd2 = HAS(layout->fd2) ? load_fd(param[layout->fd2], size[layout->fd2]) : -1;
	io->type = load16(evt + OFFSET_TYPE);
	io->op = layout->op;
	io->head_len = 0;
	if(HAS(layout->data)) {
		uint16_t n = size[layout->data];
		io->head_len = n < DS_HEAD_SIZE ? n : DS_HEAD_SIZE;
		memcpy(io->head, param[layout->data], io->head_len);
	}
	io->tuple_len = 0;
	if(HAS(layout->tuple)) {
		uint16_t n = size[layout->tuple];
		io->tuple_len = n < DS_TUPLE_SIZE ? n : DS_TUPLE_SIZE;
		memcpy(io->tuple, param[layout->tuple], io->tuple_len);
	}
#undef HAS
	return 1;
}

// Takes one event in, unless it was already.
int32_t ds_take(ds_instance* d, const void* event, uint64_t num) {
	const uint8_t* evt = (const uint8_t*)event;
	uint16_t type = load16(evt + OFFSET_TYPE);
	if(type >= DS_TYPES || d->layout[type].class_ == DS_IGNORE) {
		return SS_PLUGIN_SUCCESS;
	}
	uint64_t ts = load64(evt);
	if(d->seen_num == num && d->seen_ts == ts) {
		return SS_PLUGIN_SUCCESS;
	}
	d->seen_num = num;
	d->seen_ts = ts;

	if(d->layout[type].class_ == DS_STATE) {
		return datastagingState(d->handle, (void*)evt, load32(evt + OFFSET_LEN), num);
	}
	// A full ring is emptied before the next record, so that none is lost.
	if(d->used == DS_RING_SIZE && datastagingDrain(d->handle) != SS_PLUGIN_SUCCESS) {
		return SS_PLUGIN_FAILURE;
	}
	switch(decode_io(&d->layout[type], evt, num, &d->ring[d->used])) {
	case 1:
		d->used++;
		break;
	case -1:
		d->malformed++;
		break;
	}
	return SS_PLUGIN_SUCCESS;
}

// Called by the engine for every event of the types we asked for, before any rule sees the event.
ss_plugin_rc plugin_parse_event(ss_plugin_t* s, const ss_plugin_event_input* in, const ss_plugin_event_parse_input* p) {
	(void)p;  // the table functions given at init are the same ones
	ds_instance* d = instances[(uintptr_t)s & 0xff];
	return d == NULL ? SS_PLUGIN_SUCCESS : ds_take(d, in->evt, in->evtnum);
}

// State tables.

static ss_plugin_table_field_t* field(const ss_plugin_init_tables_input* in,
                                      ss_plugin_table_t* t,
                                      const char* name,
                                      ss_plugin_state_type type) {
	return in->fields_ext->get_table_field(t, name, type);
}

static ss_plugin_table_t* read_table(ds_tables* t, ss_plugin_table_t* from, ss_plugin_table_entry_t* e, ss_plugin_table_field_t* f) {
	ss_plugin_state_data v;
	if(f == NULL || t->reader.read_entry_field(from, e, f, &v) != SS_PLUGIN_SUCCESS) {
		return NULL;
	}
	return v.table;
}

// Looks up every accessor. Returns NULL, or the name of the one the plugin cannot do without.
const char* ds_open_tables(ds_instance* d, const ss_plugin_init_input* in) {
	const ss_plugin_init_tables_input* tables = in->tables;
	if(tables == NULL || tables->reader_ext == NULL || tables->fields_ext == NULL || tables->writer_ext == NULL) {
		return "state tables";
	}
	ds_tables* t = &d->tables;
	t->owner = in->owner;
	t->reader = *tables->reader_ext;  // the functions stay valid, the struct does not
	t->threads = tables->get_table(in->owner, "threads", SS_PLUGIN_ST_INT64);
	if(t->threads == NULL) {
		return "threads";
	}
	t->pid = field(tables, t->threads, "pid", SS_PLUGIN_ST_INT64);
	t->vpid = field(tables, t->threads, "vpid", SS_PLUGIN_ST_INT64);
	t->exe = field(tables, t->threads, "exe_path", SS_PLUGIN_ST_STRING);
	t->container_id = field(tables, t->threads, "container_id", SS_PLUGIN_ST_STRING);
	t->cgroups = field(tables, t->threads, "cgroups", SS_PLUGIN_ST_TABLE);
	t->fds = field(tables, t->threads, "file_descriptors", SS_PLUGIN_ST_TABLE);
	if(t->pid == NULL || t->fds == NULL || t->cgroups == NULL) {
		return "threads.pid, threads.file_descriptors or threads.cgroups";
	}

	// The fields of a subtable can only be asked of an instance of it: an entry made for that and thrown away.
	ss_plugin_table_entry_t* e = tables->writer_ext->create_table_entry(t->threads);
	if(e == NULL) {
		return "a new threads entry";
	}
	ss_plugin_table_t* cgroups = read_table(t, t->threads, e, t->cgroups);
	if(cgroups != NULL) {
		t->cgroup_path = field(tables, cgroups, "second", SS_PLUGIN_ST_STRING);
	}
	ss_plugin_table_t* fds = read_table(t, t->threads, e, t->fds);
	if(fds != NULL) {
		t->fd_type = field(tables, fds, "type", SS_PLUGIN_ST_UINT8);
		t->fd_name = field(tables, fds, "name", SS_PLUGIN_ST_STRING);
		t->fd_dev = field(tables, fds, "dev", SS_PLUGIN_ST_UINT32);
		t->fd_ino = field(tables, fds, "ino", SS_PLUGIN_ST_UINT64);
		t->fd_flags = field(tables, fds, "flags", SS_PLUGIN_ST_UINT32);
		t->v4_src = field(tables, fds, "socket_ipv4_src_ip", SS_PLUGIN_ST_UINT32);
		t->v4_dst = field(tables, fds, "socket_ipv4_dest_dip", SS_PLUGIN_ST_UINT32);
		t->v4_sport = field(tables, fds, "socket_ipv4_src_port", SS_PLUGIN_ST_UINT16);
		t->v4_dport = field(tables, fds, "socket_ipv4_dst_port", SS_PLUGIN_ST_UINT16);
		t->v6_src_low = field(tables, fds, "socket_ipv6_src_ip_low", SS_PLUGIN_ST_UINT64);
		t->v6_src_high = field(tables, fds, "socket_ipv6_src_ip_high", SS_PLUGIN_ST_UINT64);
		t->v6_dst_low = field(tables, fds, "socket_ipv6_dest_ip_low", SS_PLUGIN_ST_UINT64);
		t->v6_dst_high = field(tables, fds, "socket_ipv6_dest_ip_high", SS_PLUGIN_ST_UINT64);
		t->v6_sport = field(tables, fds, "socket_ipv6_src_port", SS_PLUGIN_ST_UINT16);
		t->v6_dport = field(tables, fds, "socket_ipv6_dst_port", SS_PLUGIN_ST_UINT16);
		t->unix_src = field(tables, fds, "socket_unix_src", SS_PLUGIN_ST_UINT64);
		t->unix_dst = field(tables, fds, "socket_unix_dest", SS_PLUGIN_ST_UINT64);
	}
	tables->writer_ext->destroy_table_entry(t->threads, e);
	if(t->cgroup_path == NULL || t->fd_type == NULL || t->fd_name == NULL) {
		return "the cgroups and file_descriptors subtables of threads";
	}
	return NULL;
}

// Reads one field into a value that is all zero where the field does not exist or has no value.
static ss_plugin_state_data read_field(ds_tables* t, ss_plugin_table_t* from, ss_plugin_table_entry_t* e, ss_plugin_table_field_t* f) {
	ss_plugin_state_data v;
	memset(&v, 0, sizeof(v));
	if(f != NULL && t->reader.read_entry_field(from, e, f, &v) != SS_PLUGIN_SUCCESS) {
		memset(&v, 0, sizeof(v));
	}
	return v;
}

static ss_plugin_table_entry_t* find(ds_tables* t, ss_plugin_table_t* from, const ss_plugin_state_data* key) {
	return from != NULL ? t->reader.get_table_entry(from, key) : NULL;
}

static ss_plugin_table_entry_t* find_thread(ds_tables* t, int64_t tid) {
	ss_plugin_state_data key = {.s64 = tid};
	return find(t, t->threads, &key);
}

bool ds_read_thread(ds_instance* d, int64_t tid, ds_thread* out) {
	ds_tables* t = &d->tables;
	ss_plugin_table_entry_t* e = find_thread(t, tid);
	if(e == NULL) {
		return false;
	}
	out->pid = read_field(t, t->threads, e, t->pid).s64;
	out->vpid = read_field(t, t->threads, e, t->vpid).s64;
	out->exe = read_field(t, t->threads, e, t->exe).str;
	out->container_id = read_field(t, t->threads, e, t->container_id).str;
	t->reader.release_table_entry(t->threads, e);
	return true;
}

const char* ds_read_cgroup(ds_instance* d, int64_t tid, uint64_t index) {
	ds_tables* t = &d->tables;
	ss_plugin_table_entry_t* e = find_thread(t, tid);
	if(e == NULL) {
		return NULL;
	}
	const char* path = NULL;
	ss_plugin_table_t* cgroups = read_table(t, t->threads, e, t->cgroups);
	ss_plugin_state_data key = {.u64 = index};
	ss_plugin_table_entry_t* c = find(t, cgroups, &key);
	if(c != NULL) {
		path = read_field(t, cgroups, c, t->cgroup_path).str;
		t->reader.release_table_entry(cgroups, c);
	}
	t->reader.release_table_entry(t->threads, e);
	return path;
}

bool ds_read_fd(ds_instance* d, int64_t tid, int64_t fd, ds_fd* out) {
	enum { IPV4 = 3, IPV6 = 4, UNIX = 8 };  // SCAP_FD_*_SOCK
	ds_tables* t = &d->tables;
	memset(out, 0, sizeof(*out));
	ss_plugin_table_entry_t* e = find_thread(t, tid);
	if(e == NULL) {
		return false;
	}
	ss_plugin_table_t* fds = read_table(t, t->threads, e, t->fds);
	ss_plugin_state_data key = {.s64 = fd};
	ss_plugin_table_entry_t* f = find(t, fds, &key);
	if(f != NULL) {
		out->type = read_field(t, fds, f, t->fd_type).u8;
		out->flags = read_field(t, fds, f, t->fd_flags).u32;
		if(out->type == IPV4) {
			uint32_t src = read_field(t, fds, f, t->v4_src).u32, dst = read_field(t, fds, f, t->v4_dst).u32;
			memcpy(out->src, &src, sizeof(src));
			memcpy(out->dst, &dst, sizeof(dst));
			out->sport = read_field(t, fds, f, t->v4_sport).u16;
			out->dport = read_field(t, fds, f, t->v4_dport).u16;
		} else if(out->type == IPV6) {
			uint64_t part[4] = {
			        read_field(t, fds, f, t->v6_src_low).u64,
			        read_field(t, fds, f, t->v6_src_high).u64,
			        read_field(t, fds, f, t->v6_dst_low).u64,
			        read_field(t, fds, f, t->v6_dst_high).u64,
			};
			memcpy(out->src, part, sizeof(out->src));
			memcpy(out->dst, part + 2, sizeof(out->dst));
			out->sport = read_field(t, fds, f, t->v6_sport).u16;
			out->dport = read_field(t, fds, f, t->v6_dport).u16;
		} else if(out->type == UNIX) {
			out->unix_src = read_field(t, fds, f, t->unix_src).u64;
			out->unix_dst = read_field(t, fds, f, t->unix_dst).u64;
		} else {
			out->dev = read_field(t, fds, f, t->fd_dev).u32;
			out->ino = read_field(t, fds, f, t->fd_ino).u64;
			out->name = read_field(t, fds, f, t->fd_name).str;
		}
		t->reader.release_table_entry(fds, f);
	}
	t->reader.release_table_entry(t->threads, e);
	return f != NULL;
}

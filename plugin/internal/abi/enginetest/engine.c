// SPDX-License-Identifier: Apache-2.0
#include "engine.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The tables of the engine that is being called, for the callbacks that get no pointer to it.
static et_engine* current;

// A table is told by its address, an entry is a pointer to what it shows, a field is a number from this list.
enum { PID = 1, VPID, EXE, CONTAINER_ID, CGROUPS, FDS, SECOND, TYPE, NAME, DEV, INO, FLAGS, V4_SRC, V4_DST, V4_SPORT, V4_DPORT };
static const struct {
	int field;
	const char* name;
	ss_plugin_state_type type;
} fields[] = {
        {PID, "pid", SS_PLUGIN_ST_INT64},
        {VPID, "vpid", SS_PLUGIN_ST_INT64},
        {EXE, "exe_path", SS_PLUGIN_ST_STRING},
        {CONTAINER_ID, "container_id", SS_PLUGIN_ST_STRING},
        {CGROUPS, "cgroups", SS_PLUGIN_ST_TABLE},
        {FDS, "file_descriptors", SS_PLUGIN_ST_TABLE},
        {SECOND, "second", SS_PLUGIN_ST_STRING},
        {TYPE, "type", SS_PLUGIN_ST_UINT8},
        {NAME, "name", SS_PLUGIN_ST_STRING},
        {DEV, "dev", SS_PLUGIN_ST_UINT32},
        {INO, "ino", SS_PLUGIN_ST_UINT64},
        {FLAGS, "flags", SS_PLUGIN_ST_UINT32},
        {V4_SRC, "socket_ipv4_src_ip", SS_PLUGIN_ST_UINT32},
        {V4_DST, "socket_ipv4_dest_dip", SS_PLUGIN_ST_UINT32},
        {V4_SPORT, "socket_ipv4_src_port", SS_PLUGIN_ST_UINT16},
        {V4_DPORT, "socket_ipv4_dst_port", SS_PLUGIN_ST_UINT16},
};
static char threads_table, fds_table, cgroups_table;
static et_thread new_entry;  // what create_table_entry hands out
static et_thread* shown;     // the thread whose subtables were read last

static ss_plugin_table_field_t* get_table_field(ss_plugin_table_t* t, const char* name, ss_plugin_state_type type) {
	for(size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if(strcmp(fields[i].name, name) == 0 && fields[i].type == type) {
			return (ss_plugin_table_field_t*)(uintptr_t)fields[i].field;
		}
	}
	return NULL;
}

static ss_plugin_table_entry_t* get_table_entry(ss_plugin_table_t* t, const ss_plugin_state_data* key) {
	if(t == &threads_table) {
		for(int i = 0; i < current->num_threads; i++) {
			if(current->threads[i].tid == key->s64) {
				return &current->threads[i];
			}
		}
	} else if(t == &fds_table) {
		for(int i = 0; i < shown->num_fds; i++) {
			if(shown->fds[i].fd == key->s64) {
				return &shown->fds[i];
			}
		}
	} else if(t == &cgroups_table && key->u64 == 0 && shown->cgroup != NULL) {
		return shown;
	}
	return NULL;
}

static ss_plugin_rc read_entry_field(ss_plugin_table_t* t, ss_plugin_table_entry_t* e, const ss_plugin_table_field_t* f, ss_plugin_state_data* out) {
	et_thread* thread = e;
	et_fd* fd = e;
	switch((uintptr_t)f) {
	case PID:
		out->s64 = thread->pid;
		break;
	case VPID:
		out->s64 = thread->vpid;
		break;
	case EXE:
		out->str = thread->exe;
		break;
	case CONTAINER_ID:
		out->str = thread->container_id;
		break;
	case CGROUPS:
		shown = thread;
		out->table = &cgroups_table;
		break;
	case FDS:
		shown = thread;
		out->table = &fds_table;
		break;
	case SECOND:
		out->str = thread->cgroup;
		break;
	case TYPE:
		out->u8 = fd->type;
		break;
	case NAME:
		out->str = fd->name;
		break;
	case DEV:
		out->u32 = fd->dev;
		break;
	case INO:
		out->u64 = fd->ino;
		break;
	case FLAGS:
		out->u32 = fd->flags;
		break;
	case V4_SRC:
		out->u32 = fd->v4_src;
		break;
	case V4_DST:
		out->u32 = fd->v4_dst;
		break;
	case V4_SPORT:
		out->u16 = fd->sport;
		break;
	case V4_DPORT:
		out->u16 = fd->dport;
		break;
	default:
		return SS_PLUGIN_FAILURE;
	}
	return SS_PLUGIN_SUCCESS;
}

static void release_table_entry(ss_plugin_table_t* t, ss_plugin_table_entry_t* e) {}

static ss_plugin_table_entry_t* create_table_entry(ss_plugin_table_t* t) { return &new_entry; }

static void destroy_table_entry(ss_plugin_table_t* t, ss_plugin_table_entry_t* e) {}

static ss_plugin_table_t* get_table(ss_plugin_owner_t* o, const char* name, ss_plugin_state_type key_type) {
	et_engine* e = (et_engine*)o;
	return strcmp(name, "threads") == 0 && !e->missing_table ? &threads_table : NULL;
}

static void log_message(ss_plugin_owner_t* o, const char* component, const char* msg, ss_plugin_log_severity sev) {
	et_engine* e = (et_engine*)o;
	size_t used = strlen(e->log);
	snprintf(e->log + used, sizeof(e->log) - used, "%d %s\n", sev, msg);
}

static ss_plugin_table_reader_vtable_ext reader = {
        .get_table_entry = get_table_entry,
        .read_entry_field = read_entry_field,
        .release_table_entry = release_table_entry,
};

et_engine* et_open(const char* path, char* err, int err_size) {
	et_engine* e = calloc(1, sizeof(*e));
	e->lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if(e->lib == NULL) {
		snprintf(err, err_size, "%s", dlerror());
		free(e);
		return NULL;
	}
#define RESOLVE(s) *(void**)(&e->api.s) = dlsym(e->lib, "plugin_" #s)
	RESOLVE(get_required_api_version);
	RESOLVE(get_version);
	RESOLVE(get_name);
	RESOLVE(get_last_error);
	RESOLVE(get_init_schema);
	RESOLVE(init);
	RESOLVE(destroy);
	RESOLVE(get_fields);
	RESOLVE(extract_fields);
	RESOLVE(get_extract_event_sources);
	RESOLVE(get_parse_event_types);
	RESOLVE(get_parse_event_sources);
	RESOLVE(parse_event);
	RESOLVE(get_metrics);
	RESOLVE(capture_open);
	RESOLVE(capture_close);
	RESOLVE(get_required_event_schema_version);
#undef RESOLVE
	return e;
}

int et_init(et_engine* e, const char* config) {
	ss_plugin_table_writer_vtable_ext writer = {
	        .create_table_entry = create_table_entry,
	        .destroy_table_entry = destroy_table_entry,
	};
	ss_plugin_table_fields_vtable_ext table_fields = {.get_table_field = get_table_field};
	ss_plugin_init_tables_input tables = {
	        .get_table = get_table,
	        .fields_ext = &table_fields,
	        .reader_ext = &reader,
	        .writer_ext = &writer,
	};
	ss_plugin_init_input in = {
	        .config = config,
	        .owner = (ss_plugin_owner_t*)e,
	        .tables = &tables,
	        .log_fn = log_message,
	};
	ss_plugin_rc rc = SS_PLUGIN_FAILURE;
	current = e;
	e->plugin = e->api.init(&in, &rc);
	return rc;
}

const char* et_last_error(et_engine* e) { return e->api.get_last_error(e->plugin); }

void et_close(et_engine* e) {
	current = NULL;  // as libs does: the tables are gone before the plugin is
	shown = NULL;
	e->api.destroy(e->plugin);
	free(e);  // the library stays: a Go runtime cannot be unloaded
}

int et_parse(et_engine* e, const uint8_t* evt, uint64_t num) {
	ss_plugin_event_input in = {.evt = (const ss_plugin_event*)evt, .evtnum = num, .evtsrc = "syscall"};
	ss_plugin_event_parse_input parse = {.owner = (ss_plugin_owner_t*)e, .table_reader_ext = &reader};
	current = e;
	return e->api.parse_event(e->plugin, &in, &parse);
}

int et_capture_close(et_engine* e) {
	ss_plugin_capture_listen_input in = {.owner = (ss_plugin_owner_t*)e, .table_reader_ext = &reader};
	current = e;
	return e->api.capture_close(e->plugin, &in);
}

int et_parse_many(et_engine* e, const uint8_t* evt, uint64_t first, uint64_t n) {
	for(uint64_t i = 0; i < n; i++) {
		int rc = et_parse(e, evt, first + i);
		if(rc != SS_PLUGIN_SUCCESS) {
			return rc;
		}
	}
	return SS_PLUGIN_SUCCESS;
}

// Extracts one value. Returns the plugin's code; *str and *u64 are set, or both zero when there is no value.
int et_extract(et_engine* e, const uint8_t* evt, uint64_t num, uint32_t id, uint32_t type, const char* key, uint64_t* u64, const char** str) {
	ss_plugin_event_input in = {.evt = (const ss_plugin_event*)evt, .evtnum = num, .evtsrc = "syscall"};
	ss_plugin_extract_field field = {
	        .field_id = id,
	        .field = "",
	        .arg_key = key,
	        .arg_present = key != NULL,
	        .ftype = type,
	};
	ss_plugin_field_extract_input extract = {
	        .owner = (ss_plugin_owner_t*)e,
	        .num_fields = 1,
	        .fields = &field,
	        .table_reader_ext = &reader,
	};
	*u64 = 0;
	*str = NULL;
	current = e;
	int rc = e->api.extract_fields(e->plugin, &in, &extract);
	if(rc == SS_PLUGIN_SUCCESS && field.res_len == 1) {
		switch(type) {
		case FTYPE_STRING:
			*str = field.res.str[0];
			break;
		case FTYPE_BOOL:
			*u64 = field.res.boolean[0];
			*str = "bool";
			break;
		default:
			*u64 = field.res.u64[0];
			*str = "uint64";
		}
	}
	return rc;
}

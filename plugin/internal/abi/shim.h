// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <plugin/plugin_api.h>

#define DS_HEAD_SIZE 64
#define DS_TUPLE_SIZE 37
#define DS_RING_SIZE 1024
#define DS_TYPES 512  // more than PPM_EVENT_MAX of any schema 4
#define DS_NONE 0xff

// One event that moved bytes; decode.IO in Go is the same layout.
typedef struct ds_io {
	uint64_t ts;
	int64_t tid;
	uint64_t num;
	uint64_t bytes;
	int32_t fd;
	int32_t fd2;
	uint16_t type;
	uint8_t op;
	uint8_t head_len;
	uint8_t tuple_len;
	uint8_t pad1[3];
	uint8_t head[DS_HEAD_SIZE];
	uint8_t tuple[DS_TUPLE_SIZE];
	uint8_t pad2[3];
} ds_io;

// What the shim does with an event type.
enum { DS_IGNORE = 0, DS_IO = 1, DS_STATE = 2 };

// Where an event type keeps what the shim reads: parameter indices, DS_NONE for none.
typedef struct ds_layout {
	uint8_t class_;
	uint8_t op;
	uint8_t fd;
	uint8_t fd2;
	uint8_t data;
	uint8_t tuple;
} ds_layout;

// Accessors of libs' state tables; a NULL field is one that this libs does not have.
typedef struct ds_tables {
	ss_plugin_owner_t* owner;
	ss_plugin_table_reader_vtable_ext reader;
	ss_plugin_table_t* threads;
	ss_plugin_table_field_t *pid, *vpid, *exe, *container_id, *cgroups, *cgroup_path, *fds;
	ss_plugin_table_field_t *fd_type, *fd_name, *fd_dev, *fd_ino, *fd_flags;
	ss_plugin_table_field_t *v4_src, *v4_dst, *v4_sport, *v4_dport;
	ss_plugin_table_field_t *v6_src_low, *v6_src_high, *v6_dst_low, *v6_dst_high, *v6_sport, *v6_dport;
	ss_plugin_table_field_t *unix_src, *unix_dst;
} ds_tables;

// One plugin instance. The ring is filled by C and emptied by Go, both on the thread that delivers events.
typedef struct ds_instance {
	uintptr_t handle;
	uint32_t used;       // records in ring
	uint64_t malformed;  // I/O events that were cut short
	uint64_t seen_num;   // number and time of the last event that was taken in
	uint64_t seen_ts;
	ss_plugin_owner_t* owner;
	ss_plugin_log_fn_t log;
	ds_tables tables;
	ds_layout layout[DS_TYPES];
	ds_io ring[DS_RING_SIZE];
} ds_instance;

// A thread as the threads table shows it. Strings are valid until the next call into the tables.
typedef struct ds_thread {
	int64_t pid;
	int64_t vpid;
	const char* exe;
	const char* container_id;
} ds_thread;

// A descriptor as the table of its process shows it. Addresses are in network order.
typedef struct ds_fd {
	uint8_t type;  // scap_fd_type
	uint8_t src[16];
	uint8_t dst[16];
	uint16_t sport;
	uint16_t dport;
	uint32_t flags;
	uint32_t dev;
	uint64_t ino;
	uint64_t unix_src;  // kernel addresses of the two ends of a Unix socket
	uint64_t unix_dst;
	const char* name;
} ds_fd;

ds_instance* ds_new(const ss_plugin_init_input* in);
void ds_free(ds_instance* d);
void ds_attach(ds_instance* d, uintptr_t handle);
const char* ds_open_tables(ds_instance* d, const ss_plugin_init_input* in);
bool ds_read_thread(ds_instance* d, int64_t tid, ds_thread* out);
const char* ds_read_cgroup(ds_instance* d, int64_t tid, uint64_t index);
bool ds_read_fd(ds_instance* d, int64_t tid, int64_t fd, ds_fd* out);
int32_t ds_take(ds_instance* d, const void* evt, uint64_t num);
void ds_log(ds_instance* d, const char* msg, int severity);

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include <plugin/plugin_api.h>

#define MAX_THREADS 16
#define MAX_FDS 16

typedef struct et_fd {
	int64_t fd;
	uint8_t type;
	uint32_t flags;
	uint32_t dev;
	uint64_t ino;
	const char* name;
	uint32_t v4_src, v4_dst;
	uint16_t sport, dport;
} et_fd;

typedef struct et_thread {
	int64_t tid, pid, vpid;
	const char* exe;
	const char* container_id;
	const char* cgroup;
	et_fd fds[MAX_FDS];
	int num_fds;
} et_thread;

// One engine with one plugin in it, as libs drives it: one inspector, one thread.
typedef struct et_engine {
	void* lib;
	plugin_api api;
	ss_plugin_t* plugin;
	et_thread threads[MAX_THREADS];
	int num_threads;
	char log[4096];
	int missing_table;  // pretend to be an engine without the threads table
} et_engine;

et_engine* et_open(const char* path, char* err, int err_size);
int et_init(et_engine* e, const char* config);
const char* et_last_error(et_engine* e);
void et_close(et_engine* e);
int et_parse(et_engine* e, const uint8_t* evt, uint64_t num);
int et_capture_close(et_engine* e);
int et_parse_many(et_engine* e, const uint8_t* evt, uint64_t first, uint64_t n);
int et_extract(et_engine* e, const uint8_t* evt, uint64_t num, uint32_t id, uint32_t type, const char* key, uint64_t* u64, const char** str);

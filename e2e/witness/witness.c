// SPDX-License-Identifier: Apache-2.0
// A Falco plugin (libwitness.so) that lets one filter tell of many conditions which of them an event meets. It is the harness's,
// for engines that take one filter a run:
//
//     (A and witness.saw[0] = true) or (B and witness.saw[1] = true) or witness.which exists
//
// An engine asks terms from left to right and no further than their outcome is open, so witness.saw[0] is asked where A is met. It
// notes the 0 and says false, so that B is asked, too. The events with a note match in the end, and witness.which prints "0,1".
//
// Its init_config is a whole number: how many events each condition is noted on, from the first on; 0 for all.
// It is C, and not Go, because it is asked at many events, and started with each engine.
#include <plugin/plugin_api.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUM_CONDITIONS 8192  // an argument of 128 KiB, which a filter is, has no room for more
#define LEN_NUMBER 5  // of one of them and a comma, in bytes

typedef struct {
	uint64_t limit;                  // events that a condition is noted on; 0: all
	uint64_t seen[NUM_CONDITIONS];   // by condition: events that it was noted on
	uint64_t event;                  // number of the event that the notes are of
	uint32_t num_notes;
	uint32_t notes[NUM_CONDITIONS];  // conditions
	char text[NUM_CONDITIONS * LEN_NUMBER];
	const char* text_ptr;
	ss_plugin_bool no;
	char error[128];
} witness;

enum { FIELD_SAW, FIELD_WHICH };

const char* plugin_get_required_api_version(void) { return "3.0.0"; }
const char* plugin_get_name(void) { return "witness"; }
const char* plugin_get_description(void) { return "Tells which of many conditions an event meets, for tests"; }
const char* plugin_get_contact(void) { return "github.com/falco-datastaging/datastaging"; }
const char* plugin_get_version(void) { return "0.1.0"; }
const char* plugin_get_extract_event_sources(void) { return "[\"syscall\", \"k8s_audit\"]"; }

const char* plugin_get_fields(void) {
	return "[{\"type\": \"bool\", \"name\": \"witness.saw\", \"arg\": {\"isRequired\": true, \"isIndex\": true},"
	       "  \"desc\": \"Never true: notes that the event meets the condition of this number\"},"
	       " {\"type\": \"string\", \"name\": \"witness.which\","
	       "  \"desc\": \"Numbers of the conditions that were noted at this event, in the order in which they were asked\"}]";
}

ss_plugin_t* plugin_init(const ss_plugin_init_input* in, ss_plugin_rc* rc) {
	witness* w = calloc(1, sizeof(*w));
	if(w == NULL) {
		*rc = SS_PLUGIN_FAILURE;
		return NULL;
	}
	char* end;
	const char* config = in->config != NULL ? in->config : "";
	w->limit = strtoull(config, &end, 10);
	*rc = SS_PLUGIN_SUCCESS;
	if(*end != '\0') {
		snprintf(w->error, sizeof(w->error), "read the configuration: want a whole number");
		*rc = SS_PLUGIN_FAILURE;
	}
	return w;
}

void plugin_destroy(ss_plugin_t* s) { free(s); }

const char* plugin_get_last_error(ss_plugin_t* s) { return s != NULL ? ((witness*)s)->error : "no memory"; }

static void note(witness* w, uint64_t condition) {
	if(w->limit != 0 && w->seen[condition] == w->limit) {
		return;
	}
	w->seen[condition]++;
	w->notes[w->num_notes++] = (uint32_t)condition;
}

// print writes the notes into w->text.
static void print(witness* w) {
	size_t n = 0;
	for(uint32_t i = 0; i < w->num_notes; i++) {
		n += (size_t)snprintf(w->text + n, sizeof(w->text) - n, i == 0 ? "%" PRIu32 : ",%" PRIu32, w->notes[i]);
	}
	w->text_ptr = w->text;
}

ss_plugin_rc plugin_extract_fields(ss_plugin_t* s, const ss_plugin_event_input* evt, const ss_plugin_field_extract_input* in) {
	witness* w = s;
	if(w->event != evt->evtnum) {
		w->event = evt->evtnum;
		w->num_notes = 0;
	}
	for(uint32_t i = 0; i < in->num_fields; i++) {
		ss_plugin_extract_field* f = &in->fields[i];
		f->res_len = 0;
		switch(f->field_id) {
		case FIELD_SAW:
			if(f->arg_index >= NUM_CONDITIONS || w->num_notes == NUM_CONDITIONS) {
				snprintf(w->error, sizeof(w->error), "note condition %" PRIu64 ": there is room for %d", f->arg_index, NUM_CONDITIONS);
				return SS_PLUGIN_FAILURE;
			}
			note(w, f->arg_index);
			f->res.boolean = &w->no;
			f->res_len = 1;
			break;
		case FIELD_WHICH:
			if(w->num_notes > 0) {
				print(w);
				f->res.str = &w->text_ptr;
				f->res_len = 1;
			}
			break;
		}
	}
	return SS_PLUGIN_SUCCESS;
}

/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The findings of peerbar doctor. */
#ifndef PBT_FINDINGS_H
#define PBT_FINDINGS_H

#include "tool.h"

enum finding_state {
	FINDING_OK,
	FINDING_MISSING, /* without it, the basic commands do not work */
	FINDING_NOTE,	 /* something that some uses need */
};

struct finding {
	const char *name;
	enum finding_state state;
	char found[240];
	char todo[280]; /* "" if there is nothing to do */
};

struct findings {
	struct finding *list;
	unsigned int nr;
};

/* Add a finding; write its texts with set_found() and set_todo(), until the next one is added. */
struct finding *add_finding(struct findings *all, const char *name, enum finding_state state);
void set_found(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void set_todo(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Print all. Returns an exit status: STATUS_FAILED if something is missing. */
int print_findings(struct findings *all);

#endif

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The findings of peerbar doctor, as text or JSON. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "findings.h"

struct finding *add_finding(struct findings *all, const char *name, enum finding_state state)
{
	struct finding *list;

	list = realloc(all->list, (all->nr + 1) * sizeof(*list));
	if (!list) {
		fputs("peerbar: out of memory\n", stderr);
		exit(STATUS_FAILED);
	}
	all->list = list;
	list += all->nr++;
	memset(list, 0, sizeof(*list));
	list->name = name;
	list->state = state;
	return list;
}

void set_found(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->found, sizeof(f->found), fmt, ap);
	va_end(ap);
}

void set_todo(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->todo, sizeof(f->todo), fmt, ap);
	va_end(ap);
}

static const char *const state_names[] = {
	[FINDING_OK] = "ok",
	[FINDING_MISSING] = "missing",
	[FINDING_NOTE] = "note",
};

static void print_text(const struct findings *all)
{
	int name = 0;
	unsigned int i;

	for (i = 0; i < all->nr; i++)
		name = width(name, all->list[i].name);
	for (i = 0; i < all->nr; i++) {
		struct finding *f = &all->list[i];

		printf("%-7s  %-*s  %s\n", state_names[f->state], name, f->name, f->found);
		if (f->todo[0])
			printf("%-7s  %-*s  do: %s\n", "", name, "", f->todo);
	}
}

static void print_json(const struct findings *all, bool ready)
{
	struct json_object *object = json_new(false), *array = json_new(true);
	unsigned int i;

	for (i = 0; i < all->nr; i++) {
		struct json_object *f = json_new(false);

		json_put_string(f, "name", all->list[i].name);
		json_put_string(f, "state", state_names[all->list[i].state]);
		json_put_string(f, "found", all->list[i].found);
		json_put_string(f, "todo", all->list[i].todo);
		json_append(array, f);
	}
	json_put_bool(object, "ready", ready);
	json_put(object, "findings", array);
	print_result(object);
}

int print_findings(struct findings *all)
{
	bool ready = true;
	unsigned int i;

	for (i = 0; i < all->nr; i++) {
		make_printable(all->list[i].found);
		if (all->list[i].state == FINDING_MISSING)
			ready = false;
	}
	if (json_output)
		print_json(all, ready);
	else
		print_text(all);
	return ready ? STATUS_OK : STATUS_FAILED;
}

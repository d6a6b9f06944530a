/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Files of lines, as the kernel, kmod and udev keep them. */
#ifndef PBT_LINES_H
#define PBT_LINES_H

#include <stdbool.h>

/*
 * Returns true if @matches says so of a line and @text. Returns false if the file cannot be read.
 * A line of more than 1,023 bytes counts as several.
 */
bool has_line(const char *path, bool (*matches)(const char *line, const char *text),
	      const char *text);

#endif

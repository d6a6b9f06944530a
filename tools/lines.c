// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include <stdio.h>

#include "lines.h"

bool has_line(const char *path, bool (*matches)(const char *line, const char *text),
	      const char *text)
{
	bool found = false;
	char line[1024];
	FILE *f;

	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = matches(line, text);
	if (f)
		fclose(f);
	return found;
}

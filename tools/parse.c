// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Numbers and ranges; parse.h documents them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "parse.h"

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

static unsigned int suffix_shift(char c)
{
	switch (c) {
	case 'K':
	case 'k':
		return 10;
	case 'M':
	case 'm':
		return 20;
	case 'G':
	case 'g':
		return 30;
	case 'T':
	case 't':
		return 40;
	default:
		return 0;
	}
}

/* Parse the @len characters at @text as a number. */
static int parse_span(const char *text, size_t len, uint64_t *value, char *why, size_t n)
{
	int shown = len < 40 ? (int)len : 40;
	const char *reason = NULL;
	unsigned int shift = 0;
	uint64_t v = 0;
	int base = 10;
	size_t i = 0;

	if (!len) {
		reason = "it is empty";
	} else if (text[0] == '-' || text[0] == '+') {
		reason = "it has a sign";
	} else if (len >= 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		i = 2;
	}
	if (!reason && (i == len || digit_value(text[i]) >= base))
		reason = "a digit is missing where it begins";
	if (!reason) {
		for (; i < len && digit_value(text[i]) < base; i++)
			if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
			    __builtin_add_overflow(v, (uint64_t)digit_value(text[i]), &v))
				goto overflow;
		if (i < len)
			shift = suffix_shift(text[i]);
		if (shift)
			i++;
		if (i < len)
			reason = "something follows the number";
	}
	if (reason) {
		snprintf(why, n,
			 "'%.*s' is no number: %s; one is decimal, or hexadecimal after 0x, and may end in K, M, G or T",
			 shown, text, reason);
		return -EINVAL;
	}
	if (v > UINT64_MAX >> shift)
		goto overflow;
	*value = v << shift;
	return 0;

overflow:
	snprintf(why, n, "'%.*s' is too large: 0x%" PRIx64 " is the largest number", shown, text,
		 UINT64_MAX);
	return -ERANGE;
}

int pbt_parse_number(const char *text, uint64_t *value, char *why, size_t n)
{
	return parse_span(text, strlen(text), value, why, n);
}

int pbt_parse_range(const char *text, struct pb_range *range, char *why, size_t n)
{
	const char *colon = strchr(text, ':');
	struct pb_range r;
	int ret;

	if (!colon) {
		snprintf(why, n,
			 "'%.40s' is no range: it has no colon; use OFFSET:LENGTH, as in "
			 "0x1000:64K",
			 text);
		return -EINVAL;
	}
	ret = parse_span(text, (size_t)(colon - text), &r.offset, why, n);
	if (!ret)
		ret = parse_span(colon + 1, strlen(colon + 1), &r.length, why, n);
	if (!ret)
		*range = r;
	return ret;
}

int pbt_parse_bar(const char *text, char *bdf, unsigned int *bar, uint64_t *offset, char *why,
		  size_t n)
{
	const char *plus = strchr(text, '+'), *end = plus ? plus : text + strlen(text);
	const char *colon = memrchr(text, ':', (size_t)(end - text));
	uint64_t number = 0, from = 0;

	/*
	 * Only the address of a function has a dot. Without one, the colon is part of the address.
	 */
	if (!colon || !memchr(text, '.', (size_t)(colon - text))) {
		snprintf(why, n,
			 "'%.40s' is no BAR; use BDF:BAR, as in 0000:01:00.0:2, or "
			 "BDF:BAR+OFFSET",
			 text);
		return -EINVAL;
	}
	if (parse_span(colon + 1, (size_t)(end - colon - 1), &number, why, n) ||
	    (plus && parse_span(plus + 1, strlen(plus + 1), &from, why, n)))
		return -EINVAL;
	if (number >= PB_BARS) {
		snprintf(why, n, "'%.40s' is no BAR: a PCI function has BARs 0 to %d", text,
			 PB_BARS - 1);
		return -ERANGE;
	}
	memcpy(bdf, text, (size_t)(colon - text));
	bdf[colon - text] = '\0';
	*bar = (unsigned int)number;
	*offset = from;
	return 0;
}

int pbt_parse_page(const char *text, unsigned int *bar, uint64_t *offset, char *why, size_t n)
{
	const char *plus = strchr(text, '+');
	uint64_t number = 0, at = 0;
	int ret;

	if (!plus) {
		snprintf(why, n, "'%.40s' names no page of a BAR; use BAR+OFFSET, as in 2+0x1000",
			 text);
		return -EINVAL;
	}
	ret = parse_span(text, (size_t)(plus - text), &number, why, n);
	if (!ret)
		ret = parse_span(plus + 1, strlen(plus + 1), &at, why, n);
	if (ret)
		return ret;
	if (number >= PB_BARS) {
		snprintf(why, n, "'%.40s' is no BAR: a PCI function has BARs 0 to %d", text,
			 PB_BARS - 1);
		return -ERANGE;
	}
	*bar = (unsigned int)number;
	*offset = at;
	return 0;
}

int pbt_parse_memattrs(const char *text, enum pb_memattr *memattrs, unsigned int room,
		       unsigned int *count, char *why, size_t n)
{
	static const enum pb_memattr named[] = { PB_NC, PB_WC, PB_WB, PB_DEV };
	unsigned int i = 0;

	for (;; text++) {
		size_t len = strcspn(text, ","), k;
		uint64_t number = 0;

		for (k = 0; k < sizeof(named) / sizeof(named[0]); k++)
			if (strlen(pb_memattr_name(named[k])) == len &&
			    !strncasecmp(text, pb_memattr_name(named[k]), len))
				break;
		if (k < sizeof(named) / sizeof(named[0])) {
			number = named[k];
		} else if (parse_span(text, len, &number, NULL, 0) || number > UINT32_MAX) {
			snprintf(why, n,
				 "'%.*s' is no memory attribute: nc, wc, wb, dev or a number of 32 bits is one",
				 len < 40 ? (int)len : 40, text);
			return -EINVAL;
		}
		if (i == room) {
			snprintf(why, n, "there are more than %u memory attributes", room);
			return -ERANGE;
		}
		memattrs[i++] = (enum pb_memattr)number;
		text += len;
		if (!*text)
			break;
	}
	*count = i;
	return 0;
}

int pbt_parse_bytes(const char *text, uint8_t *bytes, size_t *count, char *why, size_t n)
{
	size_t i, len = strlen(text);

	if (!len || len % 2 || strspn(text, "0123456789abcdefABCDEF") != len) {
		snprintf(why, n,
			 "'%.40s' is no sequence of bytes; use two hexadecimal digits for "
			 "each, as in 00ff12",
			 text);
		return -EINVAL;
	}
	for (i = 0; i < len / 2; i++)
		bytes[i] = (uint8_t)(digit_value(text[2 * i]) << 4 | digit_value(text[2 * i + 1]));
	*count = len / 2;
	return 0;
}

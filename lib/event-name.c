// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The names of events. */
#include "internal.h"

const char *pb_event_name(enum pb_event_type type)
{
	switch (type) {
	case PB_EVENT_CREATED:
		return "created";
	case PB_EVENT_REVOKED:
		return "revoked";
	case PB_EVENT_RESTORED:
		return "restored";
	case PB_EVENT_MOVED:
		return "moved";
	case PB_EVENT_RELEASED:
		return "released";
	case PB_EVENT_NONE:
		return "none";
	default:
		return "lost";
	}
}

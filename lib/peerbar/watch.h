/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The list of the buffers of all processes, and their events. */
#ifndef PEERBAR_WATCH_H
#define PEERBAR_WATCH_H

#include <peerbar/api.h>
#include <peerbar/buffer.h>
#include <peerbar/error.h>
#include <peerbar/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct pb_extent - physically contiguous memory
 * @start: its physical address
 * @length: its length
 */
struct pb_extent {
	uint64_t start;
	uint64_t length;
};

/**
 * struct pb_listed - a buffer that any process exported through peerbar's modules
 * @id: its number, not reused before the next boot; &struct pb_buffer_info.list_id
 * @exporter: the name of the exporter's module
 * @device: the device that has the memory, for example "0000:01:00.0"; "" if none
 * @name: the exporter's name for it
 * @size: its size
 * @model: its memory model
 * @state: whether its memory is accessible
 * @memattr: the attribute of the next mmap
 * @nr_ranges: the number of ranges
 * @nr_importers: the number of attached importers; 0 in events
 * @nr_mmaps: the number of memory areas of processes that map it; 0 in events
 * @creator: the process that exported it; 0 if not reported
 * @nr_extents: the number of elements of @extents: @nr_ranges, fewer if a message cannot hold them
 *	all, or 0 if not reported
 * @extents: the ranges
 * @nr_importer_names: the number of elements of @importer_names: @nr_importers, or fewer as with
 *	@nr_extents
 * @importer_names: the importing devices
 * @can_pin: whether importers can pin the memory; PB_ANSWER_UNKNOWN in events. This and the
 *	following are declared by the exporter
 * @can_revoke: whether the memory can be revoked; PB_ANSWER_UNKNOWN in events
 * @place: where the memory is; PB_PLACE_UNKNOWN in events
 * @bar: the BAR of @device; valid if @place is PB_PLACE_BAR
 * @bar_offset: the offset in the BAR of the first byte; valid as @bar
 *
 * @creator, @extents and @importer_names are reported only with CAP_SYS_ADMIN, and never in events.
 */
struct pb_listed {
	uint64_t id;
	char exporter[PB_NAME_LEN];
	char device[PB_NAME_LEN];
	char name[PB_NAME_LEN];
	uint64_t size;
	enum pb_model model;
	enum pb_buffer_state state;
	enum pb_memattr memattr;
	unsigned int nr_ranges;
	unsigned int nr_importers;
	unsigned int nr_mmaps;
	uint32_t creator;
	unsigned int nr_extents;
	struct pb_extent *extents;
	unsigned int nr_importer_names;
	char (*importer_names)[PB_NAME_LEN];
	enum pb_answer can_pin;
	enum pb_answer can_revoke;
	enum pb_place place;
	unsigned int bar;
	uint64_t bar_offset;
};

/**
 * pb_list_buffers_sized() - list the buffers that were exported through peerbar's modules
 * @buffers: receives an array, by ascending number; free() frees it and all that its elements point
 *	to
 * @size: sizeof(**@buffers)
 * @nr_buffers: receives the number of elements
 * @err: may be NULL
 *
 * Lists the buffers of the caller's network namespace; in the initial namespace, all buffers.
 *
 * Return: 0; -ENOENT if the kernel module peerbar is not loaded; -EPERM or -EACCES if a security
 * module denies access.
 */
PB_API int pb_list_buffers_sized(struct pb_listed **buffers, size_t size, unsigned int *nr_buffers,
				 struct pb_error *err);

/** pb_list_buffers() - pb_list_buffers_sized() with this header's size */
static inline int pb_list_buffers(struct pb_listed **buffers, unsigned int *nr_buffers,
				  struct pb_error *err)
{
	return pb_list_buffers_sized(buffers, sizeof(**buffers), nr_buffers, err);
}

struct pb_watch;

/**
 * enum pb_event_type - an event of a buffer
 * @PB_EVENT_CREATED: it was exported
 * @PB_EVENT_REVOKED: its memory is inaccessible; its state shows whether permanently
 * @PB_EVENT_RESTORED: its memory is accessible again
 * @PB_EVENT_MOVED: it is PB_DYNAMIC, and moved
 * @PB_EVENT_RELEASED: its last reference was released
 * @PB_EVENT_LOST: events were lost, because they arrived faster than they were taken: call
 *	pb_list_buffers()
 * @PB_EVENT_NONE: no event is pending
 */
enum pb_event_type {
	PB_EVENT_CREATED,
	PB_EVENT_REVOKED,
	PB_EVENT_RESTORED,
	PB_EVENT_MOVED,
	PB_EVENT_RELEASED,
	PB_EVENT_LOST,
	PB_EVENT_NONE
};

/**
 * pb_event_name() - the name of a type of events
 * @type: the type
 *
 * Return: constant, in lower case without PB_EVENT_, such as "created".
 */
PB_API const char *pb_event_name(enum pb_event_type type);

/**
 * struct pb_event - an event of a buffer
 * @type: the type
 * @buffer: the buffer at the time of the event, without importers, mmaps and privileged fields. All
 *	zero if @type is PB_EVENT_LOST or PB_EVENT_NONE. Must be the last field.
 */
struct pb_event {
	enum pb_event_type type;
	struct pb_listed buffer;
};

/**
 * pb_watch_open() - receive the events of all buffers from now on
 * @watch: receives the watch
 * @err: may be NULL
 *
 * For a complete view, open the watch, then list the buffers, then take events. After the module
 * peerbar is unloaded, the watch receives no events, even if the module is loaded again.
 *
 * Return: 0; otherwise as pb_list_buffers().
 */
PB_API int pb_watch_open(struct pb_watch **watch, struct pb_error *err);

/**
 * pb_watch_fd() - a descriptor that polls readable while an event is pending
 * @watch: the watch
 *
 * Do not read from it.
 *
 * Return: descriptor; it remains the watch's.
 */
PB_API int pb_watch_fd(const struct pb_watch *watch);

/**
 * pb_watch_next_sized() - take the next event, without waiting
 * @watch: the watch
 * @event: filled in; its type is PB_EVENT_NONE if no event is pending
 * @size: sizeof(*@event)
 * @err: may be NULL
 *
 * When the descriptor polls readable, take events until PB_EVENT_NONE.
 *
 * Return: 0.
 */
PB_API int pb_watch_next_sized(struct pb_watch *watch, struct pb_event *event, size_t size,
			       struct pb_error *err);

/** pb_watch_next() - pb_watch_next_sized() with this header's size */
static inline int pb_watch_next(struct pb_watch *watch, struct pb_event *event,
				struct pb_error *err)
{
	return pb_watch_next_sized(watch, event, sizeof(*event), err);
}

/** pb_watch_close() - close a watch; NULL is allowed */
PB_API void pb_watch_close(struct pb_watch *watch);

#ifdef __cplusplus
}
#endif

#endif

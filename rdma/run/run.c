// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The library that 'peerbar run' preloads into a program. It replaces the pages of memory that the
 * program registers by pages of a dma-buf, at the same addresses, and registers the dma-buf
 * instead. docs/rdma.md describes its uses and limits.
 *
 * The kernel copies the bytes, with process_vm_readv() and process_vm_writev(). Their "local" side
 * may be a device's memory; if that is revoked, they fail instead of raising SIGBUS.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

/* The header's macros choose between these functions by the access flags. */
#undef ibv_reg_mr
#undef ibv_reg_mr_iova

/* libibverbs's functions. All registrations of ordinary memory call reg_mr_iova2. */
static struct {
	struct ibv_mr *(*reg_mr_iova2)(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
				       unsigned int access);
	struct ibv_mr *(*reg_dmabuf_mr)(struct ibv_pd *pd, uint64_t offset, size_t length,
					uint64_t iova, int fd, int access);
	int (*rereg_mr)(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr, size_t length,
			int access);
	int (*dereg_mr)(struct ibv_mr *mr);
} real;

/* The parsed environment; immutable after begin(). */
static struct {
	bool given; /* PEERBAR_FD is set */
	int fd;
	dev_t dev;
	ino_t ino;
	uint64_t offset; /* of the usable part, in the dma-buf */
	uint64_t length;
} room;

/* Pages of the program that are in the dma-buf. Spans don't overlap. */
struct span {
	uint64_t start;
	uint64_t end;
	uint64_t offset; /* in the dma-buf */
	/* The number of regions that overlap it. 0 only if it could not be moved out. */
	unsigned int regions;
	bool fresh; /* being made for the current registration */
};

/* A registered region, in whole pages. */
struct region {
	struct ibv_mr *mr;
	uint64_t start;
	uint64_t end;
};

/* A mapping of this process, from /proc/self/maps. */
struct vma {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	int prot;
	bool ours;	   /* a mapping of the dma-buf */
	const char *fixed; /* why it cannot be moved; NULL if it can */
};

/* Protects the variables below. Held while moving and registering memory, and across fork(). */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct span *spans;
static struct region *regions;
static unsigned int nr_spans, nr_regions;
/* The address that maps to the middle of the dma-buf; 0 before the first registration. */
static uint64_t anchor;
static int fork_pipe[2] = { -1, -1 };
static struct vma *fork_vmas; /* the mappings that the child moves out */
static unsigned int nr_fork_vmas;

/* A provider may register its own memory during a registration. */
static __thread bool inside;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	int code = errno;
	va_list args;

	flockfile(stderr);
	fputs("peerbar run: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	funlockfile(stderr);
	errno = code;
}

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static void *at(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

/* ---- mappings ---- */

static bool parse_vma(const char *line, struct vma *vma)
{
	uint64_t start, end, offset, inode;
	unsigned int major, minor;
	const char *name;
	char perms[5];
	int n = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &start,
		   &end, perms, &offset, &major, &minor, &inode, &n) < 7 ||
	    !n)
		return false;
	name = line + n;
	vma->start = start;
	vma->end = end;
	vma->offset = offset;
	vma->prot = (perms[0] == 'r' ? PROT_READ : 0) | (perms[1] == 'w' ? PROT_WRITE : 0) |
		(perms[2] == 'x' ? PROT_EXEC : 0);
	vma->ours = perms[3] == 's' && inode == room.ino && makedev(major, minor) == room.dev;
	vma->fixed = NULL;
	if (perms[3] == 's')
		vma->fixed = "it is a shared mapping";
	else if (!strncmp(name, "[stack", 6))
		vma->fixed = "it is on the stack";
	else if (strstr(name, "/anon_hugepage"))
		vma->fixed = "it consists of huge pages";
	else if (vma->prot & PROT_EXEC)
		vma->fixed = "it holds code";
	return true;
}

/* List the mappings between @start and @end, clipped. Returns their number, or -1 and errno. */
static int find_vmas(uint64_t start, uint64_t end, struct vma **list)
{
	struct vma vma, *more;
	char *line = NULL;
	size_t size = 0;
	int n = 0;
	FILE *f;

	*list = NULL;
	f = fopen("/proc/self/maps", "re");
	if (!f)
		return -1;
	while (getline(&line, &size, f) > 0) {
		if (!parse_vma(line, &vma) || vma.end <= start || vma.start >= end)
			continue;
		if (vma.start < start) {
			vma.offset += start - vma.start;
			vma.start = start;
		}
		if (vma.end > end)
			vma.end = end;
		more = realloc(*list, (size_t)(n + 1) * sizeof(*more));
		if (!more) {
			free(*list);
			*list = NULL;
			n = -1;
			break;
		}
		*list = more;
		more[n++] = vma;
	}
	free(line);
	fclose(f);
	return n;
}

/* Returns whether the pages overlap this thread's stack, which has no name in maps. */
static bool on_our_stack(uint64_t start, uint64_t end)
{
	pthread_attr_t attr;
	size_t size = 0;
	void *base = NULL;

	if (pthread_getattr_np(pthread_self(), &attr))
		return false;
	pthread_attr_getstack(&attr, &base, &size);
	pthread_attr_destroy(&attr);
	return start < (uintptr_t)base + size && end > (uintptr_t)base;
}

/* ---- allocation in the dma-buf ---- */

/*
 * Other processes may use the same dma-buf, for example the children of a shell. Mark allocated
 * ranges with fcntl() locks, which belong to the process and end with it. On failure *@next
 * receives the offset to try next.
 */
static bool lock_room(uint64_t offset, uint64_t length, uint64_t *next)
{
	struct flock l = { .l_type = F_WRLCK,
			   .l_whence = SEEK_SET,
			   .l_start = (off_t)offset,
			   .l_len = (off_t)length };

	*next = offset + page_size();
	if (!fcntl(room.fd, F_SETLK, &l))
		return true;
	if (!fcntl(room.fd, F_GETLK, &l) && l.l_type != F_UNLCK && l.l_len)
		*next = (uint64_t)l.l_start + (uint64_t)l.l_len;
	return false;
}

static void unlock_room(uint64_t offset, uint64_t length)
{
	struct flock l = { .l_type = F_UNLCK,
			   .l_whence = SEEK_SET,
			   .l_start = (off_t)offset,
			   .l_len = (off_t)length };

	fcntl(room.fd, F_SETLK, &l);
}

static bool take_room(uint64_t offset, uint64_t length, uint64_t *next)
{
	unsigned int i;

	if (offset < room.offset || offset - room.offset > room.length ||
	    length > room.length - (offset - room.offset))
		return false;
	for (i = 0; i < nr_spans; i++) {
		if (offset < spans[i].offset + (spans[i].end - spans[i].start) &&
		    offset + length > spans[i].offset) {
			*next = spans[i].offset + (spans[i].end - spans[i].start);
			return false;
		}
	}
	return lock_room(offset, length, next);
}

/*
 * Allocate a range for the pages from @start on. Regions that share their first or last page must
 * be contiguous in the dma-buf. To make that likely, place adjacent addresses adjacently if free,
 * from the middle of the dma-buf on in both directions. For a region of @whole pages, use the first
 * free range.
 */
static bool find_room(uint64_t start, uint64_t length, bool whole, uint64_t *offset)
{
	uint64_t page = page_size(), middle = room.length / 2 & ~(page - 1),
		 pages = room.length & ~(page - 1), next = 0;

	if (length > pages)
		return false;
	if (!whole) {
		if (!anchor)
			anchor = start;
		/* Wrap around the dma-buf, before or behind the anchor. */
		*offset = start >= anchor ? (start - anchor) % pages :
					    pages - page - (anchor - start - page) % pages;
		*offset = room.offset + (*offset + middle) % pages;
		if (take_room(*offset, length, &next))
			return true;
	}
	for (*offset = room.offset; *offset - room.offset <= pages - length; *offset = next)
		if (take_room(*offset, length, &next))
			return true;
	return false;
}

/* ---- moving ---- */

/* Copy with a system call. @from_device: which of the two may be a device's memory. */
static bool copy(uint64_t to, uint64_t from, uint64_t length, bool from_device)
{
	ssize_t n;

	while (length) {
		struct iovec there = { at(to), length }, here = { at(from), length };

		n = from_device ? process_vm_writev(getpid(), &here, 1, &there, 1, 0) :
				  process_vm_readv(getpid(), &there, 1, &here, 1, 0);
		if (n <= 0)
			return false;
		to += (uint64_t)n;
		from += (uint64_t)n;
		length -= (uint64_t)n;
	}
	return true;
}

/* Replace a part of the program's memory by the dma-buf at @offset, with the same contents. */
static bool move_in(const struct vma *vma, uint64_t offset)
{
	size_t length = (size_t)(vma->end - vma->start);
	void *window;
	bool done;

	window = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, room.fd, (off_t)offset);
	if (window == MAP_FAILED)
		return false;
	/* Writes by other threads between the copy and the mmap are lost. */
	done = copy((uintptr_t)window, vma->start, length, false) &&
		mmap(at(vma->start), length, vma->prot, MAP_SHARED | MAP_FIXED, room.fd,
		     (off_t)offset) != MAP_FAILED;
	munmap(window, length);
	return done;
}

/*
 * Replace a mapping of the dma-buf by ordinary memory at the same addresses, with the same
 * contents.
 */
static bool move_out(const struct vma *vma)
{
	size_t length = (size_t)(vma->end - vma->start);
	void *window;
	bool done;

	window = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (window == MAP_FAILED)
		return false;
	done = ((vma->prot & PROT_READ) ||
		!mprotect(at(vma->start), length, vma->prot | PROT_READ)) &&
		copy((uintptr_t)window, vma->start, length, true) &&
		!mprotect(window, length, vma->prot) &&
		mremap(window, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, at(vma->start)) !=
			MAP_FAILED;
	if (!done)
		munmap(window, length);
	return done;
}

/*
 * List the mappings of the dma-buf that still belong to a span. The program may have unmapped or
 * replaced others.
 */
static int find_span(const struct span *span, struct vma **list)
{
	int i, n, kept = 0;

	n = find_vmas(span->start, span->end, list);
	for (i = 0; i < n; i++) {
		struct vma *v = &(*list)[i];

		if (v->ours && v->offset == span->offset + (v->start - span->start))
			(*list)[kept++] = *v;
	}
	return n < 0 ? -1 : kept;
}

static bool move_out_or_say(const struct vma *vma)
{
	if (move_out(vma))
		return true;
	say("0x%" PRIx64 " bytes at 0x%" PRIx64 " stay in the device's memory: %s",
	    vma->end - vma->start, vma->start,
	    errno == EFAULT ? "they cannot be read, it may be revoked" : strerror(errno));
	return false;
}

/* Returns false if some of it stays in the dma-buf. */
static bool put_back(const struct span *span)
{
	struct vma *vmas;
	bool done;
	int i, n;

	n = find_span(span, &vmas);
	if (n < 0)
		return false;
	done = true;
	for (i = 0; i < n; i++)
		done &= move_out_or_say(&vmas[i]);
	free(vmas);
	return done;
}

/* ---- spans and regions; call these functions with the lock held ---- */

static void forget_span(unsigned int i)
{
	unlock_room(spans[i].offset, spans[i].end - spans[i].start);
	spans[i] = spans[--nr_spans];
}

/* Release the spans of a region or, with @fresh, those of a failed registration. */
static void release(uint64_t start, uint64_t end, bool fresh)
{
	unsigned int i = 0;

	while (i < nr_spans) {
		struct span *s = &spans[i];

		if (s->start >= end || s->end <= start || s->fresh != fresh ||
		    (s->regions && --s->regions)) {
			i++;
		} else if (put_back(s)) {
			forget_span(i);
		} else {
			s->fresh = false;
			i++;
		}
	}
}

static struct span *span_at(uint64_t address)
{
	unsigned int i;

	for (i = 0; i < nr_spans; i++)
		if (address >= spans[i].start && address < spans[i].end)
			return &spans[i];
	return NULL;
}

/* Returns the end of the span at @address, or the beginning of the next one, at most @end. */
static uint64_t next_border(uint64_t address, uint64_t end)
{
	const struct span *s = span_at(address);
	unsigned int i;

	if (s)
		return s->end < end ? s->end : end;
	for (i = 0; i < nr_spans; i++)
		if (spans[i].start > address && spans[i].start < end)
			end = spans[i].start;
	return end;
}

/* The result for a registration. */
enum answer {
	ANSWER_MOVED,
	ANSWER_LEAVE,  /* pass to libibverbs unchanged */
	ANSWER_REFUSE, /* fail, with errno */
};

static enum answer refuse(int code)
{
	errno = code;
	return ANSWER_REFUSE;
}

/* Check that all of @start to @end is mapped, and can be moved or was moved. */
static enum answer look(uint64_t start, uint64_t end, unsigned int access, const struct vma *vmas,
			int n)
{
	bool write = access &
		(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC),
	     some = false;
	const char *fixed = on_our_stack(start, end) ? "it is on the stack" : NULL;
	uint64_t address = start;
	int i;

	for (i = 0; i < n; i++) {
		const struct vma *v = &vmas[i];
		struct span *s;
		uint64_t from;

		/* libibverbs has the errno for memory that is not mapped, or not writable. */
		if (v->start != address || !(v->prot & PROT_READ) ||
		    (write && !(v->prot & PROT_WRITE)))
			return ANSWER_LEAVE;
		for (from = v->start; from < v->end; from = next_border(from, v->end)) {
			s = span_at(from);
			if (!s) {
				if (!fixed)
					fixed = v->fixed;
			} else if (!v->ours ||
				   v->offset + (from - v->start) != s->offset + (from - s->start)) {
				say("cannot register 0x%" PRIx64 " bytes at 0x%" PRIx64
				    ": some of it is registered, and was unmapped since",
				    end - start, start);
				return refuse(EBUSY);
			} else {
				some = true;
			}
		}
		address = v->end;
	}
	if (address < end)
		return ANSWER_LEAVE;
	if (!fixed)
		return ANSWER_MOVED;
	if (some) {
		say("cannot register 0x%" PRIx64 " bytes at 0x%" PRIx64
		    ": some of it is in the device's memory, and some cannot be: %s",
		    end - start, start, fixed);
		return refuse(EOPNOTSUPP);
	}
	say("0x%" PRIx64 " bytes at 0x%" PRIx64
	    " are registered where they are, in ordinary memory: %s",
	    end - start, start, fixed);
	return ANSWER_LEAVE;
}

/*
 * Make fresh spans for the pages without one, contiguous with the existing ones. *@offset receives
 * the offset of @start.
 */
static enum answer make_spans(uint64_t start, uint64_t end, bool whole, uint64_t *offset)
{
	uint64_t address, border, next;
	bool known = false;
	struct span *s;

	for (address = start; address < end; address = border) {
		border = next_border(address, end);
		s = span_at(address);
		if (!s)
			continue;
		/* May wrap around below the beginning; take_room() fails then. */
		next = s->offset + (address - s->start) - (address - start);
		if (known && next != *offset) {
			say("cannot register 0x%" PRIx64 " bytes at 0x%" PRIx64
			    ": parts of it were registered "
			    "before, and are not contiguous in the device's memory",
			    end - start, start);
			return refuse(EOPNOTSUPP);
		}
		*offset = next;
		known = true;
	}
	if (!known) {
		if (!find_room(start, end - start, whole, offset)) {
			say("cannot register 0x%" PRIx64 " bytes at 0x%" PRIx64
			    ": there is no contiguous room "
			    "for 0x%" PRIx64 " in the device's memory, which has 0x%" PRIx64,
			    end - start, start, end - start, room.length);
			return refuse(ENOMEM);
		}
		spans[nr_spans++] = (struct span){ start, end, *offset, 1, true };
		return ANSWER_MOVED;
	}
	for (address = start; address < end; address = border) {
		border = next_border(address, end);
		if (span_at(address))
			continue;
		if (!take_room(*offset + (address - start), border - address, &next)) {
			say("cannot register 0x%" PRIx64 " bytes at 0x%" PRIx64
			    ": a part of it was registered "
			    "before, and the range beside that in the device's memory is in use",
			    end - start, start);
			return refuse(ENOMEM);
		}
		spans[nr_spans++] = (struct span){ address, border, *offset + (address - start), 1,
						   true };
	}
	return ANSWER_MOVED;
}

/*
 * Allocate the lists before moving anything: their own memory may be in the pages that are moved.
 */
static bool make_lists(uint64_t start, uint64_t end)
{
	unsigned int more = 1, i;
	void *p;

	for (i = 0; i < nr_spans; i++)
		more += spans[i].start < end && spans[i].end > start;
	p = realloc(spans, (nr_spans + more) * sizeof(*spans));
	if (!p)
		return false;
	spans = p;
	p = realloc(regions, (nr_regions + 1) * sizeof(*regions));
	if (!p)
		return false;
	regions = p;
	return true;
}

static bool move_all(const struct vma *vmas, int n)
{
	struct vma part;
	uint64_t from;
	struct span *s;
	int i;

	for (i = 0; i < n; i++) {
		for (from = vmas[i].start; from < vmas[i].end; from = part.end) {
			s = span_at(from);
			part = vmas[i];
			part.start = from;
			part.end = next_border(from, vmas[i].end);
			if (s->fresh && !move_in(&part, s->offset + (from - s->start)))
				return false;
		}
	}
	return true;
}

/* Check that the descriptor is still the dma-buf: a program may close unknown descriptors. */
static bool have_room(void)
{
	struct stat st;

	return room.length && !fstat(room.fd, &st) && st.st_dev == room.dev &&
		st.st_ino == room.ino;
}

static enum answer place(uint64_t address, size_t length, unsigned int access, struct vma **vmas,
			 uint64_t *offset)
{
	uint64_t page = page_size(), start = address & ~(page - 1),
		 end = (address + length + page - 1) & ~(page - 1);
	enum answer answer;
	int n;

	if (!have_room()) {
		say("cannot register 0x%zx bytes at 0x%" PRIx64
		    ": descriptor %d is no dma-buf, or was "
		    "replaced since the start",
		    length, address, room.fd);
		return refuse(EBADF);
	}
	if (!make_lists(start, end))
		return refuse(ENOMEM);
	n = find_vmas(start, end, vmas);
	if (n < 0) {
		say("cannot register 0x%zx bytes at 0x%" PRIx64 ": cannot read /proc/self/maps: %s",
		    length, address, strerror(errno));
		return ANSWER_REFUSE;
	}
	answer = look(start, end, access, *vmas, n);
	if (answer != ANSWER_MOVED)
		return answer;
	answer = make_spans(start, end, address == start && address + length == end, offset);
	if (answer != ANSWER_MOVED)
		return answer;
	*offset += address - start;
	if (!move_all(*vmas, n)) {
		int code = errno;

		say("cannot move 0x%zx bytes at 0x%" PRIx64 " to the device's memory: %s", length,
		    address,
		    code == EFAULT ? "it cannot be written, it may be revoked" : strerror(code));
		return refuse(code == EFAULT ? ENODEV : code);
	}
	return ANSWER_MOVED;
}

/* The access flags that the kernel supports for dma-bufs. The other optional flags are dropped. */
#define ACCESS_KNOWN (~(unsigned int)IBV_ACCESS_OPTIONAL_RANGE | IBV_ACCESS_RELAXED_ORDERING)

static struct ibv_mr *register_region(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
				      unsigned int access)
{
	uint64_t page = page_size(), address = (uintptr_t)addr, offset = 0;
	uint64_t start = address & ~(page - 1), end = (address + length + page - 1) & ~(page - 1);
	struct vma *vmas = NULL;
	struct ibv_mr *mr = NULL;
	unsigned int i;
	int code;

	switch (place(address, length, access, &vmas, &offset)) {
	case ANSWER_LEAVE:
		mr = real.reg_mr_iova2(pd, addr, length, iova, access);
		free(vmas);
		return mr;
	case ANSWER_REFUSE:
		break;
	case ANSWER_MOVED:
		mr = real.reg_dmabuf_mr(pd, offset, length, iova, room.fd,
					(int)(access & ACCESS_KNOWN));
		if (!mr)
			say("cannot register the dma-buf in place of 0x%zx bytes at 0x%" PRIx64
			    ", with access 0x%x "
			    "(ibv_reg_dmabuf_mr): %s",
			    length, address, access, strerror(errno));
		break;
	}
	if (!mr) {
		code = errno;
		release(start, end, true);
		free(vmas);
		errno = code;
		return NULL;
	}
	free(vmas);
	for (i = 0; i < nr_spans; i++) {
		if (spans[i].start >= end || spans[i].end <= start)
			continue;
		if (!spans[i].fresh)
			spans[i].regions++;
		spans[i].fresh = false;
	}
	regions[nr_regions++] = (struct region){ mr, start, end };
	/* libibverbs stores the offset here. */
	mr->addr = addr;
	return mr;
}

static struct region *region_of(const struct ibv_mr *mr)
{
	unsigned int i;

	for (i = 0; i < nr_regions; i++)
		if (regions[i].mr == mr)
			return &regions[i];
	return NULL;
}

/* ---- functions that the program calls ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find_real(void)
{
	/*
	 * libibverbs is loaded, since it is being called. A module may have loaded it, where
	 * RTLD_NEXT does not find it.
	 */
	void *library = dlopen("libibverbs.so.1", RTLD_LAZY | RTLD_NOLOAD);

	if (!library)
		library = RTLD_NEXT;
	*(void **)&real.reg_mr_iova2 = dlsym(library, "ibv_reg_mr_iova2");
	*(void **)&real.reg_dmabuf_mr = dlsym(library, "ibv_reg_dmabuf_mr");
	*(void **)&real.rereg_mr = dlsym(library, "ibv_rereg_mr");
	*(void **)&real.dereg_mr = dlsym(library, "ibv_dereg_mr");
	if (!real.reg_mr_iova2 || !real.reg_dmabuf_mr || !real.rereg_mr || !real.dereg_mr) {
		say("this libibverbs has no ibv_reg_dmabuf_mr(), or cannot be found");
		abort();
	}
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
				unsigned int access)
{
	struct ibv_mr *mr;

	pthread_once(&once, find_real);
	/* Pass through: no memory, all memory, and memory that the kernel looks up on use. */
	if (!room.given || inside || !length ||
	    (uintptr_t)addr + length + page_size() < (uintptr_t)addr ||
	    (access & (IBV_ACCESS_ON_DEMAND | IBV_ACCESS_ZERO_BASED)))
		return real.reg_mr_iova2(pd, addr, length, iova, access);
	pthread_mutex_lock(&lock);
	inside = true;
	mr = register_region(pd, addr, length, iova, access);
	inside = false;
	pthread_mutex_unlock(&lock);
	return mr;
}

struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
			       int access)
{
	return ibv_reg_mr_iova2(pd, addr, length, iova, (unsigned int)access);
}

struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access)
{
	return ibv_reg_mr_iova2(pd, addr, length, (uintptr_t)addr, (unsigned int)access);
}

int ibv_rereg_mr(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr, size_t length,
		 int access)
{
	bool ours;

	pthread_once(&once, find_real);
	if (!inside && (flags & IBV_REREG_MR_CHANGE_TRANSLATION)) {
		pthread_mutex_lock(&lock);
		ours = region_of(mr);
		pthread_mutex_unlock(&lock);
		if (ours) {
			say("cannot register other memory in place of a region that is in the device's memory (ibv_rereg_mr)");
			errno = EOPNOTSUPP;
			return IBV_REREG_MR_ERR_INPUT;
		}
	}
	return real.rereg_mr(mr, flags, pd, addr, length, access);
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	struct region *region;
	uint64_t start, end;
	int ret;

	pthread_once(&once, find_real);
	if (inside)
		return real.dereg_mr(mr);
	pthread_mutex_lock(&lock);
	inside = true;
	region = region_of(mr);
	ret = real.dereg_mr(mr);
	if (!ret && region) {
		start = region->start;
		end = region->end;
		*region = regions[--nr_regions];
		release(start, end, false);
	}
	inside = false;
	pthread_mutex_unlock(&lock);
	return ret;
}

/* ---- fork: give the child a copy in ordinary memory; the parent waits for it ---- */

/*
 * Allocate everything before the fork: the child must not write to memory before it has its copy,
 * since the memory may still be the parent's.
 */
static void before_fork(void)
{
	struct vma *list, *more;
	unsigned int i;
	int n;

	pthread_mutex_lock(&lock);
	for (i = 0; i < nr_spans; i++) {
		n = find_span(&spans[i], &list);
		if (n > 0) {
			more = realloc(fork_vmas, (nr_fork_vmas + (unsigned int)n) * sizeof(*more));
			if (more) {
				fork_vmas = more;
				memcpy(fork_vmas + nr_fork_vmas, list,
				       (unsigned int)n * sizeof(*list));
				nr_fork_vmas += (unsigned int)n;
			}
		}
		if (n >= 0)
			free(list);
	}
	if (nr_fork_vmas && pipe2(fork_pipe, O_CLOEXEC))
		fork_pipe[0] = fork_pipe[1] = -1;
}

static void after_fork(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (fork_pipe[i] >= 0)
			close(fork_pipe[i]);
		fork_pipe[i] = -1;
	}
	free(fork_vmas);
	fork_vmas = NULL;
	nr_fork_vmas = 0;
	pthread_mutex_unlock(&lock);
}

static void after_fork_in_parent(void)
{
	char byte;

	if (fork_pipe[1] >= 0) {
		close(fork_pipe[1]);
		fork_pipe[1] = -1;
		while (read(fork_pipe[0], &byte, 1) < 0 && errno == EINTR)
			;
	}
	after_fork();
}

static void after_fork_in_child(void)
{
	unsigned int i;

	for (i = 0; i < nr_fork_vmas; i++)
		move_out_or_say(&fork_vmas[i]);
	/* Regions and locks belong to the parent. */
	nr_spans = nr_regions = 0;
	after_fork();
}

/* ---- initialization ---- */

static bool number_of(const char *name, uint64_t *value)
{
	const char *text = getenv(name);
	char *rest;

	if (!text || *text < '0' || *text > '9')
		return false;
	*value = strtoull(text, &rest, 0);
	return !*rest;
}

__attribute__((constructor)) static void begin(void)
{
	struct stat st;
	uint64_t fd;
	off_t size;

	if (!number_of("PEERBAR_FD", &fd) || fd > INT32_MAX)
		return;
	room.given = true;
	room.fd = (int)fd;
	size = lseek(room.fd, 0, SEEK_END);
	if (size < 0 || fstat(room.fd, &st))
		return;
	if (!number_of("PEERBAR_OFFSET", &room.offset) || room.offset > (uint64_t)size)
		room.offset = 0;
	if (!number_of("PEERBAR_LENGTH", &room.length) ||
	    room.length > (uint64_t)size - room.offset)
		room.length = (uint64_t)size - room.offset;
	room.dev = st.st_dev;
	room.ino = st.st_ino;
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

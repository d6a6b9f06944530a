// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Accesses to mapped memory, and what they must find. */
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker.h"

uint32_t phase_of(const struct what *w)
{
	/* The test exporter's buffers have no owner, and may be revoked at any time. */
	return w->device < DEVICES ? atomic_load(&shared->devices[w->device].phase) :
				     PHASE_CHANGING;
}

uint64_t number_at(const struct what *w, uint64_t offset)
{
	unsigned int i;

	if (w->device == TEST)
		return 0xe000000000000000 | w->tag << 32 | offset / PAGE;
	for (i = 0; i < w->nr; i++) {
		if (offset < w->ranges[i].length)
			return page_number(w->device, w->ranges[i].offset + offset);
		offset -= w->ranges[i].length;
	}
	return 0;
}

static __thread sigjmp_buf escape;
static __thread volatile sig_atomic_t touching;

void on_signal(int sig)
{
	if (touching && sig == SIGBUS)
		siglongjmp(escape, 1);
	fail_operation("unexpected %s", strsignal(sig));
}

/* Access a word. Return false on SIGBUS. */
static bool access_word(char *p, bool write, uint64_t *value)
{
	volatile uint64_t *word = (void *)p;

	if (sigsetjmp(escape, 0)) {
		touching = 0;
		return false;
	}
	touching = 1;
	if (write)
		*word = *value;
	else
		*value = *word;
	touching = 0;
	return true;
}

const uint64_t numbered[4] = { 0, 1024, 2048, 4088 };

void touch(struct map *m, uint64_t r, bool write)
{
	uint64_t page = r % (m->length / PAGE) * PAGE;
	uint64_t word = write ? 64 + (r >> 32) % 100 * 8 : numbered[(r >> 32) % 4];
	uint64_t value = r, right = number_at(&m->what, m->offset + page);
	uint32_t before = phase_of(&m->what), after;
	bool dead = is_dead(&m->what), there;

	there = access_word(m->p + page + word, write, &value);
	after = phase_of(&m->what);
	if (there) {
		if (dead)
			fail_operation("memory of a buffer that was revoked permanently is there (id %llu, device %u, generation %u)",
				       (unsigned long long)m->what.id, m->what.device,
				       m->what.generation);
		if (before == after && (before & PHASE_MASK) == PHASE_OFF)
			fail_operation("memory of device %u is there although its decoding is off",
				       m->what.device);
		if (!write && value != right)
			fail_operation("offset 0x%llx of a buffer shows 0x%llx, not 0x%llx",
				       (unsigned long long)(m->offset + page),
				       (unsigned long long)value, (unsigned long long)right);
	} else {
		if (before == after && (before & PHASE_MASK) == PHASE_ON && !may_be_dead(&m->what))
			fail_operation("SIGBUS although nobody revoked (id %llu, device %u, generation %u)",
				       (unsigned long long)m->what.id, m->what.device,
				       m->what.generation);
		if (m->what.device == TEST && m->what.model == PEERBAR_MODEL_PINNED)
			fail_operation("SIGBUS in a PINNED buffer");
	}
}

void touch_all(unsigned int device, uint64_t id, uint64_t r, unsigned int most)
{
	unsigned int i;

	for (i = 0; i < MAPS && most; i++) {
		struct map *m = &maps[(r + i) % MAPS];

		if (pthread_rwlock_tryrdlock(&m->lock))
			continue;
		if (m->used && m->what.device == device && (!id || m->what.id == id)) {
			touch(m, r >> 8, false);
			most--;
		}
		pthread_rwlock_unlock(&m->lock);
	}
}

bool op_touch(void)
{
	struct map *m = pick_map(place.r[0], false);

	if (!m)
		return false;
	touch(m, place.r[1], false);
	pthread_rwlock_unlock(&m->lock);
	return true;
}

bool op_write(void)
{
	struct map *m = pick_map(place.r[0], false);

	if (!m)
		return false;
	touch(m, place.r[1], m->writable);
	pthread_rwlock_unlock(&m->lock);
	return true;
}

bool op_fork(void)
{
	struct map *m = pick_map(place.r[0], false);
	unsigned int i;
	int status;
	pid_t pid;

	if (!m)
		return false;
	pid = fork();
	if (pid < 0)
		fail_operation("fork: %s", strerror(errno));
	if (!pid) {
		for (i = 1; i < 7; i++)
			touch(m, place.r[i], false);
		_exit(0);
	}
	touch(m, place.r[1], false);
	pthread_rwlock_unlock(&m->lock);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		fail_operation("the child ended with status 0x%x", status);
	return true;
}

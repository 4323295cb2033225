/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/interrupt.h"

#include <signal.h>
#include <stddef.h>

#include "base/base.h"

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

static struct sigaction before[WL_COUNT_OF(signals)];
static volatile sig_atomic_t came;
static bool has_begun;

static void note(int number)
{
    came = number;
}

void interrupt_begin(void)
{
    struct sigaction noting = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND};

    came = 0;
    has_begun = true;
    for (size_t i = 0; i < WL_COUNT_OF(signals); i++) {
        (void)sigaction(signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN) {
            (void)sigaction(signals[i], &noting, NULL);
        }
    }
}

bool interrupt_came(void)
{
    return came != 0;
}

void interrupt_end(void)
{
    if (!has_begun) {
        return;
    }
    has_begun = false;
    for (size_t i = 0; i < WL_COUNT_OF(signals); i++) {
        (void)sigaction(signals[i], &before[i], NULL);
    }
    if (came) {
        (void)raise((int)came);
    }
}

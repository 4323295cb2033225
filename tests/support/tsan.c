/* SPDX-License-Identifier: Apache-2.0 */
/* What the thread sanitizer is not to report; its runtime asks this function. */

const char *__tsan_default_suppressions(void);

__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void)
{
    /* It is not instrumented, so its atomics are not seen (since 3.5, in its look-ups). */
    return "called_from_lib:libcrypto.so\n";
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue is two streams.  Copies go down the first, each mark is an event there.
 * A notice goes down the second, behind a wait for the mark's event, so that a
 * driver thread busy with a notice never holds up the copies.
 */
#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"
#include "kernels/device_gpu.h"

struct gpu_queue {
    struct wl_queue base;
    wl_gpu_stream copy_stream;
    wl_gpu_stream notice_stream;
    void (*notice)(void *user);
    void *user;
    pthread_mutex_t lock;   /* over is_closed, and held while a notice is given */
    bool is_closed;         /* a notice that a failing driver gives too late is dropped */
    atomic_uint references; /* the owner's, and one per notice not yet given */
    uint32_t mark_count;
    wl_gpu_event events[]; /* by mark */
};

static struct gpu_queue *queue_of(struct wl_queue *queue)
{
    return (struct gpu_queue *)queue;
}

static void drop_queue(struct gpu_queue *queue)
{
    if (atomic_fetch_sub(&queue->references, 1) == 1) {
        (void)pthread_mutex_destroy(&queue->lock);
        wl_sys->free(queue);
    }
}

/* Destroy what there is of streams and events; the device is entered. */
static void destroy_handles(const struct wl_gpu_device *gpu, struct gpu_queue *queue)
{
    const struct wl_gpu_api *api = wl_gpu_api_of(gpu);

    for (uint32_t mark = 0; mark < queue->mark_count; mark++) {
        if (queue->events[mark]) {
            (void)api->event_destroy(queue->events[mark]);
        }
    }
    if (queue->notice_stream) {
        (void)api->stream_destroy(queue->notice_stream);
    }
    if (queue->copy_stream) {
        (void)api->stream_destroy(queue->copy_stream);
    }
}

static int create_handles(const struct wl_gpu_device *gpu, struct gpu_queue *queue,
                          struct wload_error *err)
{
    int rc = WL_GPU_TRY(gpu, err, stream_create, &queue->copy_stream, WL_GPU_STREAM_NON_BLOCKING);

    if (rc == WLOAD_OK) {
        rc = WL_GPU_TRY(gpu, err, stream_create, &queue->notice_stream, WL_GPU_STREAM_NON_BLOCKING);
    }
    for (uint32_t mark = 0; mark < queue->mark_count && rc == WLOAD_OK; mark++) {
        rc = WL_GPU_TRY(gpu, err, event_create, &queue->events[mark], WL_GPU_EVENT_DISABLE_TIMING);
    }
    return rc;
}

int wl_gpu_queue_open(struct wl_device *device, uint32_t mark_count, struct wl_queue **out,
                      struct wload_error *err)
{
    struct wl_gpu_device *gpu = wl_gpu_of(device);
    struct gpu_queue *queue =
        wl_sys->alloc(sizeof(*queue) + (size_t)mark_count * sizeof(queue->events[0]));
    int previous, rc;

    if (!queue) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "%s:%u: no memory for a queue of %u marks",
                          gpu->base.ops->name, gpu->index, mark_count);
    }
    queue->base.device = device;
    queue->mark_count = mark_count;
    atomic_init(&queue->references, 1);
    (void)pthread_mutex_init(&queue->lock, NULL);
    rc = gpu->vendor->enter(gpu, &previous, err);
    if (rc < 0) {
        goto out_drop;
    }
    rc = create_handles(gpu, queue, err);
    if (rc < 0) {
        goto out_destroy;
    }
    gpu->vendor->leave(gpu, previous);
    *out = &queue->base;
    return WLOAD_OK;

out_destroy:
    destroy_handles(gpu, queue);
    gpu->vendor->leave(gpu, previous);
out_drop:
    drop_queue(queue);
    return rc;
}

void wl_gpu_queue_close(struct wl_queue *base)
{
    struct gpu_queue *queue = queue_of(base);
    struct wl_gpu_device *gpu = wl_gpu_of(base->device);
    struct wl_gpu_visit visit = wl_gpu_enter_to_undo(gpu);

    (void)wl_gpu_api_of(gpu)->stream_sync(queue->copy_stream);
    (void)wl_gpu_api_of(gpu)->stream_sync(queue->notice_stream);
    destroy_handles(gpu, queue);
    wl_gpu_leave_after_undo(gpu, visit);
    (void)pthread_mutex_lock(&queue->lock);
    queue->is_closed = true;
    (void)pthread_mutex_unlock(&queue->lock);
    drop_queue(queue);
}

int wl_gpu_copy_start(struct wl_queue *base, void *target, const void *source, uint64_t size_bytes,
                      struct wload_error *err)
{
    struct gpu_queue *queue = queue_of(base);
    struct wl_gpu_device *gpu = wl_gpu_of(base->device);
    int previous, rc;

    if (size_bytes == 0) {
        return WLOAD_OK;
    }
    rc = gpu->vendor->enter(gpu, &previous, err);
    if (rc < 0) {
        return rc;
    }
    rc = WL_GPU_TRY(gpu, err, copy_to_device, (wl_gpu_address)target, source, size_bytes,
                    queue->copy_stream);
    gpu->vendor->leave(gpu, previous);
    return rc;
}

int wl_gpu_mark_put(struct wl_queue *base, uint32_t mark, struct wload_error *err)
{
    struct gpu_queue *queue = queue_of(base);
    struct wl_gpu_device *gpu = wl_gpu_of(base->device);
    int previous, rc;

    WL_ASSERT(mark < queue->mark_count);
    rc = gpu->vendor->enter(gpu, &previous, err);
    if (rc < 0) {
        return rc;
    }
    rc = WL_GPU_TRY(gpu, err, event_record, queue->events[mark], queue->copy_stream);
    gpu->vendor->leave(gpu, previous);
    return rc;
}

int wl_gpu_mark_poll(struct wl_queue *base, uint32_t mark, struct wload_error *err)
{
    struct gpu_queue *queue = queue_of(base);
    struct wl_gpu_device *gpu = wl_gpu_of(base->device);
    int previous, code, rc;

    WL_ASSERT(mark < queue->mark_count);
    rc = gpu->vendor->enter(gpu, &previous, err);
    if (rc < 0) {
        return rc;
    }
    code = wl_gpu_api_of(gpu)->event_query(queue->events[mark]);
    gpu->vendor->leave(gpu, previous);
    if (code == WL_GPU_NOT_READY) {
        return 0;
    }
    rc = wl_gpu_check(gpu, WL_GPU_CALL_event_query, code, err);
    return rc < 0 ? rc : 1;
}

/* On a thread of the driver, where its calls are forbidden. */
static void give_notice(void *user)
{
    struct gpu_queue *queue = user;

    (void)pthread_mutex_lock(&queue->lock);
    if (!queue->is_closed) {
        queue->notice(queue->user);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    drop_queue(queue);
}

static void give_notice_by_callback(wl_gpu_stream stream, wl_gpu_status status, void *user)
{
    (void)stream;
    (void)status; /* mark_poll() finds it too */
    give_notice(user);
}

/*
 * A stream callback is called when the device has failed as well, and a waiter
 * wants to hear of that; a host function is not, so it is the second choice.
 */
static int start_notice(const struct wl_gpu_device *gpu, struct gpu_queue *queue,
                        struct wload_error *err)
{
    int rc;

    (void)atomic_fetch_add(&queue->references, 1);
    if (wl_gpu_api_of(gpu)->stream_callback) {
        rc = WL_GPU_TRY(gpu, err, stream_callback, queue->notice_stream, give_notice_by_callback,
                        queue, 0);
    } else {
        rc = WL_GPU_TRY(gpu, err, stream_host_func, queue->notice_stream, give_notice, queue);
    }
    if (rc < 0) {
        drop_queue(queue);
    }
    return rc;
}

int wl_gpu_mark_notify(struct wl_queue *base, uint32_t mark, void (*notice)(void *user), void *user,
                       struct wload_error *err)
{
    struct gpu_queue *queue = queue_of(base);
    struct wl_gpu_device *gpu = wl_gpu_of(base->device);
    int previous, rc;

    WL_ASSERT(mark < queue->mark_count);
    WL_ASSERT(!queue->notice || (queue->notice == notice && queue->user == user));
    rc = gpu->vendor->enter(gpu, &previous, err);
    if (rc < 0) {
        return rc;
    }
    if (!queue->notice) {
        queue->user = user;
        queue->notice = notice;
    }
    rc = WL_GPU_TRY(gpu, err, stream_wait_event, queue->notice_stream, queue->events[mark], 0);
    if (rc == WLOAD_OK) {
        rc = start_notice(gpu, queue, err);
    }
    gpu->vendor->leave(gpu, previous);
    return rc;
}

#include "CHeraldNet.h"

void hr_wheel_init(hr_wheel *wheel, uint64_t now_ms) {
    for (size_t i = 0; i < HR_WHEEL_SLOT_COUNT; i++) {
        hr_link_init(&wheel->slots[i]);
    }
    wheel->now_tick = now_ms / HR_TICK_MS;
    wheel->count = 0;
}

void hr_timer_init(hr_timer *timer, hr_timer_fn *fire) {
    hr_link_init(&timer->link);
    timer->due_tick = 0;
    timer->fire = fire;
}

void hr_timer_arm(hr_wheel *wheel, hr_timer *timer, uint64_t now_ms, uint64_t after_ms) {
    uint64_t due_tick = (now_ms + after_ms + HR_TICK_MS - 1) / HR_TICK_MS;
    due_tick = due_tick > wheel->now_tick ? due_tick : wheel->now_tick + 1;
    if (hr_timer_armed(timer) && timer->due_tick == due_tick) {
        return; /* the usual case of a busy connection */
    }
    hr_timer_cancel(wheel, timer);
    timer->due_tick = due_tick;
    hr_list_push_back(&wheel->slots[timer->due_tick % HR_WHEEL_SLOT_COUNT], &timer->link);
    wheel->count++;
}

void hr_timer_cancel(hr_wheel *wheel, hr_timer *timer) {
    if (hr_timer_armed(timer)) {
        hr_link_remove(&timer->link);
        wheel->count--;
    }
}

/* The slot is emptied first: what fires may arm and cancel any timer, also those that wait
 * in the same slot, and each of them is looked at once. */
static void fire_slot(hr_wheel *wheel, hr_link *slot) {
    hr_link waiting;
    hr_link_init(&waiting);
    hr_list_splice(&waiting, slot);
    while (!hr_list_empty(&waiting)) {
        hr_timer *timer = HR_CONTAINER_OF(waiting.next, hr_timer, link);
        hr_link_remove(&timer->link);
        if (timer->due_tick > wheel->now_tick) {
            hr_list_push_back(slot, &timer->link);
            continue;
        }
        wheel->count--;
        timer->fire(timer);
    }
}

void hr_wheel_advance(hr_wheel *wheel, uint64_t now_ms) {
    uint64_t target = now_ms / HR_TICK_MS;
    /* After a long sleep one turn visits every slot; more turns would find nothing new. */
    if (target > wheel->now_tick + HR_WHEEL_SLOT_COUNT) {
        wheel->now_tick = target - HR_WHEEL_SLOT_COUNT;
    }
    while (wheel->now_tick < target) {
        wheel->now_tick++;
        fire_slot(wheel, &wheel->slots[wheel->now_tick % HR_WHEEL_SLOT_COUNT]);
    }
}

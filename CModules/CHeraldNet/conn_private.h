/* conn_private: what conn.c (life, input) and conn_write.c (output) share. Thread: LOOP. */
#ifndef HR_CONN_PRIVATE_H
#define HR_CONN_PRIVATE_H

#include "loop_private.h"

/* Asks libuv, or the carrier, for what is wanted now. */
void hr__conn_update(hr_conn *conn);
void hr__conn_drop_waiting(hr_conn *conn);
/* Begins and ends to gather conn's output while its input is handled. */
void hr__conn_begin_cork(hr_conn *conn);
void hr__conn_end_cork(hr_conn *conn);
/* Hands over what waits; true: nothing is left. False also when the connection has been closed. */
bool hr__conn_send_waiting(hr_conn *conn);
/* Sends what OpenSSL wrote to the loop's wire from there on, and takes it away. */
hr_status hr__conn_send_sealed(hr_conn *conn, size_t from);

#endif

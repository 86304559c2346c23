/* The floor that rootd is compared with: every datagram goes back to where it came from, many with one system call. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BATCH = 64, SIZE = 2048 };

static char buf[BATCH][SIZE + 64]; /* not a power of two apart: see udp.Options in packetpath/udp */
static struct sockaddr_in from[BATCH];
static struct iovec iov[BATCH];
static struct mmsghdr msg[BATCH];

int main(void) {
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 8 << 20;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &len)) {
		perror("reflector");
		return 1;
	}
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	for (int i = 0; i < BATCH; i++)
		msg[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_iov = &iov[i], .msg_iovlen = 1};
	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){buf[i], SIZE};
			msg[i].msg_hdr.msg_namelen = sizeof from[i];
		}
		int n = recvmmsg(fd, msg, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++)
			iov[i].iov_len = msg[i].msg_len;
		for (int done = 0; done < n;) {
			int k = sendmmsg(fd, msg + done, n - done, 0);
			done += k > 0 ? k : 1;
		}
	}
}

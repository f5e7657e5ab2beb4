/* The least that a CGI in C is: writes its answer and returns. */

#include <unistd.h>

static const char answer[] = "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n";

int main(void)
{
	return write(1, answer, sizeof answer - 1) != sizeof answer - 1;
}

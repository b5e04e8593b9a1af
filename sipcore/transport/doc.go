// Package transport moves SIP messages between the wire and the core: datagrams are received and sent in batches on one
// socket per address and reader, and handled to completion on the goroutine that read them.
package transport

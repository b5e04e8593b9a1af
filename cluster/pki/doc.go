// Package pki is the cluster's own small certificate authority, the join token, and the TLS configurations of the cluster
// port. Certificates carry no useful validity period and their times are never looked at: a box with a wrong clock must
// still be able to join its cluster. What a certificate proves is who holds a key (RFC 5280 signature of the cluster's CA
// over node UUID and public key); whether that node is welcome is asked of the member table on every connection.
package pki

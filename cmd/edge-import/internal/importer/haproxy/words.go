package haproxy

import (
	"sync"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// words are what becomes of lines, by their first word or the first two of them, and of options of servers.
var words = sync.OnceValue(func() *plan.Words { return plan.ParseWords(wordsTable) })

const wordsTable = `
user                     key user text
group                    key group text
pidfile                  key pid_file text
nbthread                 key worker_threads number
hard-stop-after          key grace_period millis
retries                  key retry.attempts number
timeout.connect          key timeouts.connect millis
timeout.server           key timeouts.first_byte millis
timeout.server.again     key timeouts.read millis
timeout.queue            key pool.queue_timeout millis
timeout.http-request     key limits.header_timeout millis
timeout.http-keep-alive  key limits.idle_timeout millis
tune.http.maxhdr         key limits.header_count number
timeout.tarpit           unread no section reads it
timeout.client           note see limits.min_rate, limits.idle_timeout and user_timeout of listeners
timeout.*                lost edge has no such time
balance default-server   unread no section reads it
acl                      unread no rule that is carried asks for it

log chroot daemon maxconn stats ca-base crt-base ssl-default-bind-ciphers ssl-default-bind-ciphersuites ulimit-n node
ssl-default-bind-options ssl-default-server-ciphers ssl-default-server-ciphersuites ssl-default-server-options nbproc
tune.* tune.*.* description spread-checks cpu-map master-worker lua-load ssl-dh-param-file set-dumpable noepoll nosplice
unix-bind        note nothing to write: edge looks at the machine itself; its log is that of [log]
mode             note nothing to write: edge has listeners for HTTP and services for TCP
option.forwardfor  note ` + plan.Forwarded + `
http-reuse       note nothing to write: connections to backends are kept, see pool.idle of [upstreams.NAME]
option.httplog option.dontlognull option.http-keep-alive option.http-server-close option.redispatch option.contstats
option.abortonclose option.tcplog option.splice-auto option.splice-request option.splice-response option.tcp-check
option.http-buffer-request option.socket-stats option.log-health-checks option.prefer-last-server option.clitcpka
option.tcp-smart-accept option.tcp-smart-connect option.srvtcpka option.allbackups option.log-separate-errors
option.logasap option.nolinger  note nothing to write: the default of edge, or without a counterpart that answers show
stick-table stick cookie              lost see sticky and load_balancing of [upstreams.NAME]
compression.algo compression.type unread no section reads it
compression.offload note nothing to write: what a backend has compressed goes on as it is
compression lost see type = "compress" in [filters.NAME]
tcp-request.inspect-delay             note nothing to write: a client has 5 s for its ClientHello
tcp-request tcp-response              lost not available in this version: routes do not look at connections
errorfile errorfiles http-error       lost no such file has a page, or another one is for this status: see error_pages
monitor-net                           lost see [[rules]] with respond and a condition on client.ip
filter                                lost edge has filters of its own
capture unique-id-format              lost see [log] and request_id of listeners
log-format log-tag error-log-format   lost see line of [log]
http-check                            lost edge knows expected_status, path and method of checks
email-alert                           lost edge sends no mail

server.send-proxy                     key proxy_protocol text
server.check-send-proxy               note nothing to write: checks begin as connections do
server.maxconn                        key breaker.max_requests number
server.slowstart                      key slow_start millis
server.ca-file                        key tls.ca text
bind.ca-file                          key client_ca text
bind.verify                           key client_auth text
bind.ssl-min-ver                      key min_version text
bind.ssl bind.crt bind.alpn bind.v4v6 bind.accept-proxy unread
bind.crl-file                         lost edge reads no lists of certificates that were revoked
check.inter                           key interval millis
check.rise                            key rise number
check.fall                            key fall number
server.sni server.alpn                note see tls of [upstreams.NAME]
server.maxqueue server.minconn server.on-marked-down server.on-error server.error-limit server.observe server.id
server.resolvers server.resolve-prefer server.init-addr server.source server.crt server.addr
server.check-sni                      lost see slow_start, breaker and sticky of upstreams
server.inter server.rise server.fall server.check server.ssl server.verify server.cookie
server.fastinter server.downinter server.port server.weight server.backup server.disabled  unread`

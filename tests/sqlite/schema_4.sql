-- A database as the fourth schema's runq has written it, with jobs in every state.
BEGIN TRANSACTION;
CREATE TABLE attempts (
  job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
  claim INTEGER NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN
    ('exited', 'signalled', 'timed_out', 'cancelled', 'spawn_failed', 'lost', 'interrupted')),
  exit_code INTEGER,
  signal INTEGER,
  error TEXT,
  host TEXT,
  started_at REAL,
  finished_at REAL NOT NULL,
  user_seconds REAL,
  system_seconds REAL,
  max_rss_kib INTEGER,
  output_bytes INTEGER NOT NULL DEFAULT 0,
  cut_bytes INTEGER NOT NULL DEFAULT 0,
  tail BLOB NOT NULL DEFAULT x'', waited REAL, result TEXT,
  PRIMARY KEY (job, claim),                      -- a result is recorded once
  CHECK (outcome <> 'exited' OR exit_code IS NOT NULL),
  CHECK (outcome <> 'signalled' OR signal IS NOT NULL)
) WITHOUT ROWID;
INSERT INTO "attempts" VALUES(1,1,'exited',0,NULL,NULL,'somewhere',1.79535726341113400453e+09,1.79535726441113400453e+09,NULL,NULL,NULL,0,0,X'6F75740A',0.0,NULL);
INSERT INTO "attempts" VALUES(2,1,'exited',1,NULL,NULL,'somewhere',1.79535726341296625135e+09,1.79535726441296625138e+09,NULL,NULL,NULL,0,0,X'6F75740A',0.0,NULL);
INSERT INTO "attempts" VALUES(3,1,'exited',1,NULL,NULL,'somewhere',1.79535726341511654852e+09,1.79535726441511654855e+09,NULL,NULL,NULL,0,0,X'6F75740A',0.0,NULL);
CREATE TABLE audit (                               -- who did what, and when
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,
  what TEXT NOT NULL CHECK (what IN ('queued', 'held', 'denied', 'approved', 'rejected', 'cancelled', 'replayed', 'discarded', 'pinned', 'unpinned', 'paused', 'resumed', 'scheduled', 'unscheduled', 'allowed', 'restored')),
  job INTEGER,
  about TEXT,                                      -- a command as JSON, or a name
  caller TEXT NOT NULL CHECK (caller IN ('person', 'hook', 'agent')),
  client TEXT,
  session TEXT,
  project TEXT
);
INSERT INTO "audit" VALUES(1,1.79535726436231446263e+09,'queued',1,'["true"]','person',NULL,NULL,NULL);
INSERT INTO "audit" VALUES(2,1.7953572643770706654e+09,'queued',2,'["false"]','person',NULL,NULL,NULL);
INSERT INTO "audit" VALUES(3,1.79535726438889861101e+09,'queued',3,'["false"]','person',NULL,NULL,NULL);
INSERT INTO "audit" VALUES(4,1.79535726441296625138e+09,'queued',4,'["echo","instead"]','person',NULL,NULL,NULL);
INSERT INTO "audit" VALUES(5,1.79535726441839957236e+09,'queued',5,'["echo","blocked"]','person',NULL,NULL,NULL);
INSERT INTO "audit" VALUES(6,1.79535726442026734349e+09,'queued',6,'["sleep","9"]','person',NULL,NULL,NULL);
INSERT INTO "audit" VALUES(7,1.79535726443108129501e+09,'queued',7,'["true"]','person',NULL,NULL,NULL);
INSERT INTO "audit" VALUES(8,1.7953572644324362278e+09,'queued',8,'["sleep","1000"]','person',NULL,NULL,NULL);
INSERT INTO "audit" VALUES(9,1.79535726443616366386e+09,'queued',9,'["true"]','person',NULL,NULL,NULL);
INSERT INTO "audit" VALUES(10,1.79535726448096179955e+09,'held',10,'["rm","x"]','agent','claude-code 2','s','/');
INSERT INTO "audit" VALUES(11,1.79535726448320126537e+09,'queued',11,'["true"]','person',NULL,NULL,NULL);
INSERT INTO "audit" VALUES(12,1.79535726448510837556e+09,'queued',12,'[]','hook',NULL,NULL,NULL);
INSERT INTO "audit" VALUES(13,1795357264.42157,'cancelled',6,NULL,'person',NULL,NULL,NULL);
CREATE TABLE dependencies (
  job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
  needs INTEGER NOT NULL,
  condition TEXT NOT NULL CHECK (condition IN ('success', 'any', 'failure')),
  met INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (job, needs, condition)
) WITHOUT ROWID;
INSERT INTO "dependencies" VALUES(5,2,'success',0);
CREATE TABLE inputs (job INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE, stdin BLOB NOT NULL);
INSERT INTO "inputs" VALUES(11,X'696E707574');
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,          -- never used again, so that no old run can be mistaken
  state TEXT NOT NULL CHECK (state IN ('held', 'blocked', 'scheduled', 'available', 'running', 'succeeded', 'dead', 'cancelled')),
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
  sequential INTEGER NOT NULL DEFAULT 0,
  due_at REAL,
  unmet INTEGER NOT NULL DEFAULT 0 CHECK (unmet >= 0),
  parked TEXT,                                   -- the lock it waits for while available

  argv TEXT NOT NULL,
  program TEXT NOT NULL,                         -- its real path
  executable TEXT NOT NULL,                      -- as found: what is run
  cwd TEXT NOT NULL,
  env TEXT NOT NULL,
  own_env TEXT,                                  -- the names of the variables that were asked for with it
  stdin_path TEXT,
  timeout REAL,
  retry TEXT NOT NULL,
  retries INTEGER NOT NULL CHECK (retries >= 0),
  locks TEXT,
  on_dead TEXT,
  escalated_from INTEGER,

  name TEXT,
  unique_key TEXT,
  meta TEXT,
  caller TEXT NOT NULL CHECK (caller IN ('person', 'hook', 'agent')),
  session TEXT,
  project TEXT,
  client TEXT,
  approved_at REAL,
  rejected_at REAL,
  pinned TEXT CHECK (pinned IN ('person', 'automatic')),

  created_at REAL NOT NULL,
  started_at REAL,
  finished_at REAL,
  ended INTEGER,                                 -- its number among all completions, in commit order

  claim INTEGER NOT NULL DEFAULT 0,              -- grows with every claim, never used again
  attempt INTEGER NOT NULL DEFAULT 0,            -- claims that counted, ever
  failures INTEGER NOT NULL DEFAULT 0,           -- since it was queued or replayed
  attempts_before INTEGER NOT NULL DEFAULT 0,    -- those it had made when it was replayed last
  lease_token TEXT,
  worker TEXT,
  keeper TEXT,
  host TEXT,
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  outcome TEXT,                                  -- of its latest attempt, as are these two
  exit_code INTEGER,
  signal INTEGER,
  reason TEXT, handler TEXT, arguments TEXT CHECK ((handler IS NULL) = (arguments IS NULL) AND
  (handler IS NULL OR argv = '[]')), schedule TEXT, ready_at REAL, pinned_at REAL,                                   -- why it is where it is, in words

  CHECK ((state = 'running') = (lease_token IS NOT NULL)),
  CHECK ((state = 'running') = (worker IS NOT NULL)),
  CHECK ((state IN ('succeeded', 'dead', 'cancelled')) = (finished_at IS NOT NULL)),
  CHECK ((finished_at IS NULL) = (ended IS NULL)),
  CHECK (state <> 'scheduled' OR due_at IS NOT NULL),
  CHECK (state <> 'blocked' OR unmet > 0),
  CHECK (parked IS NULL OR state = 'available'),
  CHECK (cancel_requested = 0 OR state = 'running')
);
INSERT INTO "jobs" VALUES(1,'succeeded','default',2,0,NULL,0,NULL,'["true"]','/usr/bin/true','/usr/bin/true','/','{"PATH":"/usr/bin:/bin","HOME":"/home/user"}',NULL,NULL,NULL,'["exponential",10.0,3600.0,0.0]',3,NULL,NULL,NULL,NULL,NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79535726436231446263e+09,1.79535726440545558924e+09,1.79535726441113400453e+09,1,1,1,0,0,NULL,NULL,NULL,'somewhere',0,'exited',0,NULL,NULL,NULL,NULL,NULL,1.79535726436231446263e+09,NULL);
INSERT INTO "jobs" VALUES(2,'dead','default',2,0,NULL,0,NULL,'["false"]','/usr/bin/false','/usr/bin/false','/','{"PATH":"/usr/bin:/bin","HOME":"/home/user"}',NULL,NULL,NULL,'["exponential",10.0,3600.0,0.0]',0,NULL,'[[null,"/usr/bin/echo","echo","instead"],[null,"/usr/bin/echo","echo","last"]]',NULL,NULL,NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.7953572643770706654e+09,1.79535726440545558924e+09,1.79535726441296625138e+09,2,1,1,1,0,NULL,NULL,NULL,'somewhere',0,'exited',1,NULL,'exited with code 1',NULL,NULL,NULL,1.7953572643770706654e+09,NULL);
INSERT INTO "jobs" VALUES(3,'scheduled','default',2,0,2.79535726441511631003e+09,0,NULL,'["false"]','/usr/bin/false','/usr/bin/false','/','{"PATH":"/usr/bin:/bin","HOME":"/home/user"}',NULL,NULL,NULL,'["exponential",1000000000.0,10000000000.0,0.0]',3,NULL,NULL,NULL,NULL,NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79535726438889861101e+09,1.79535726440545558924e+09,NULL,NULL,1,1,1,0,NULL,NULL,NULL,'somewhere',0,'exited',1,NULL,'exited with code 1',NULL,NULL,NULL,1.79535726438889861101e+09,NULL);
INSERT INTO "jobs" VALUES(4,'running','default',2,0,NULL,0,NULL,'["echo","instead"]','/usr/bin/echo','/usr/bin/echo','/','{"PATH":"/usr/bin:/bin","HOME":"/home/user"}',NULL,NULL,NULL,'["exponential",10.0,3600.0,0.0]',0,NULL,'[[null,"/usr/bin/echo","echo","last"]]',2,NULL,NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79535726441296625138e+09,1.79535726444339823718e+09,NULL,NULL,1,1,0,0,'t4','w1','k1','somewhere',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79535726441296625138e+09,NULL);
INSERT INTO "jobs" VALUES(5,'blocked','default',2,0,NULL,1,NULL,'["echo","blocked"]','/usr/bin/echo','/usr/bin/echo','/','{"PATH":"/usr/bin:/bin","HOME":"/home/user"}',NULL,NULL,NULL,'["exponential",10.0,3600.0,0.0]',3,NULL,NULL,NULL,NULL,NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79535726441839957236e+09,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(6,'cancelled','default',2,0,NULL,0,NULL,'["sleep","9"]','/usr/bin/sleep','/usr/bin/sleep','/','{"PATH":"/usr/bin:/bin","HOME":"/home/user"}',NULL,NULL,NULL,'["exponential",10.0,3600.0,0.0]',3,NULL,NULL,NULL,'cancelled',NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,'person',1.79535726442026734349e+09,NULL,1795357264.42157,3,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,'cancelled',NULL,NULL,NULL,1.79535726442026734349e+09,1.79535726442760586738e+09);
INSERT INTO "jobs" VALUES(7,'scheduled','default',2,0,2.79535726443088722238e+09,0,NULL,'["true"]','/usr/bin/true','/usr/bin/true','/','{"PATH":"/usr/bin:/bin","HOME":"/home/user"}',NULL,NULL,NULL,'["exponential",10.0,3600.0,0.0]',3,NULL,NULL,NULL,NULL,NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79535726443108129501e+09,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(8,'running','default',2,0,NULL,0,NULL,'["sleep","1000"]','/usr/bin/sleep','/usr/bin/sleep','/','{"PATH":"/usr/bin:/bin","HOME":"/home/user"}',NULL,NULL,NULL,'["exponential",10.0,3600.0,0.0]',3,NULL,NULL,NULL,NULL,NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.7953572644324362278e+09,1.79535726444339823718e+09,NULL,NULL,1,1,0,0,'t5','w1','k1','somewhere',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.7953572644324362278e+09,NULL);
INSERT INTO "jobs" VALUES(9,'running','other',2,0,NULL,0,NULL,'["true"]','/usr/bin/true','/usr/bin/true','/','{"PATH":"/usr/bin:/bin","HOME":"/home/user"}',NULL,NULL,NULL,'["exponential",10.0,3600.0,0.0]',3,'["gpu"]',NULL,NULL,NULL,NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79535726443616366386e+09,1.79535726444339823718e+09,NULL,NULL,1,1,0,0,'t3','w1','k1','somewhere',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79535726443616366386e+09,NULL);
INSERT INTO "jobs" VALUES(10,'held','default',2,0,NULL,0,NULL,'["rm","x"]','/usr/bin/rm','/usr/bin/rm','/','{"PATH":"/usr/bin:/bin","HOME":"/home/user"}',NULL,NULL,NULL,'["exponential",10.0,3600.0,0.0]',3,NULL,NULL,NULL,NULL,NULL,NULL,'agent','s','/','claude-code 2',NULL,NULL,NULL,1.79535726448096179955e+09,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,'no rule covers this command',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(11,'available','default',2,0,NULL,0,NULL,'["true"]','/usr/bin/true','/usr/bin/true','/','{"PATH":"/usr/bin:/bin","HOME":"/home/user"}',NULL,NULL,NULL,'["exponential",10.0,3600.0,0.0]',3,NULL,NULL,NULL,NULL,NULL,'{"k":"v"}','person',NULL,NULL,NULL,NULL,NULL,NULL,1.79535726448320126537e+09,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79535726448320126537e+09,NULL);
INSERT INTO "jobs" VALUES(12,'available','default',2,0,NULL,0,'@score','[]','','','/','{}',NULL,NULL,NULL,'["exponential",10.0,3600.0,0.0]',3,NULL,NULL,NULL,NULL,NULL,NULL,'hook',NULL,NULL,NULL,NULL,NULL,NULL,1.79535726448510837556e+09,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'score','{"n":1}',NULL,1.79535726448510837556e+09,NULL);
CREATE TABLE locks (
  name TEXT PRIMARY KEY,
  capacity INTEGER NOT NULL CHECK (capacity > 0),
  used INTEGER NOT NULL DEFAULT 0 CHECK (used >= 0)
) WITHOUT ROWID;
INSERT INTO "locks" VALUES('gpu',1,1);
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('ended',3);
CREATE TABLE queues (
  name TEXT PRIMARY KEY,
  paused INTEGER NOT NULL DEFAULT 0,
  slots INTEGER NOT NULL CHECK (slots > 0),      -- its parallelism, over all processes
  own_slots INTEGER NOT NULL DEFAULT 0,          -- slots are this queue's own, not the default
  turn INTEGER NOT NULL DEFAULT 0,               -- queues take turns: the smallest is served next
  held INTEGER NOT NULL DEFAULT 0, blocked INTEGER NOT NULL DEFAULT 0, scheduled INTEGER NOT NULL DEFAULT 0, available INTEGER NOT NULL DEFAULT 0, running INTEGER NOT NULL DEFAULT 0, succeeded INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0, cancelled INTEGER NOT NULL DEFAULT 0, ready INTEGER NOT NULL DEFAULT 0, barred INTEGER NOT NULL DEFAULT 0
, handled INTEGER NOT NULL DEFAULT 0, starts_per_minute INTEGER CHECK (starts_per_minute > 0), rests_until REAL) WITHOUT ROWID;
INSERT INTO "queues" VALUES('ci',2,4,0,0,0,0,0,0,0,0,0,0,0,0,0,NULL,NULL);
INSERT INTO "queues" VALUES('default',0,4,0,6,1,1,2,2,2,1,1,1,1,0,0,NULL,NULL);
INSERT INTO "queues" VALUES('other',0,4,0,4,0,0,0,0,1,0,0,0,0,0,0,NULL,NULL);
CREATE TABLE schedules (
  name TEXT PRIMARY KEY,
  cron TEXT,
  every REAL CHECK (every > 0),                    -- seconds
  zone TEXT NOT NULL,                              -- of the cron line
  missed TEXT NOT NULL CHECK (missed IN ('skip', 'once', 'all')),
  job TEXT NOT NULL,                               -- what it queues, as the spool writes it
  created_at REAL NOT NULL,
  next_at REAL,                                    -- NULL: never again
  decided_at REAL NOT NULL,                        -- when that was decided
  caller TEXT NOT NULL,                            -- who added it
  last_at REAL,
  last_job INTEGER,
  paused INTEGER NOT NULL DEFAULT 0,               -- 1: by an agent or a hook, 2: by a person
  trouble TEXT,                                    -- why it could not queue its job when it was due
  retry_at REAL,                                   -- in trouble: not tried again before
  CHECK ((cron IS NULL) <> (every IS NULL))
) WITHOUT ROWID;
INSERT INTO "schedules" VALUES('beat',NULL,3600.0,'UTC','once','{"job":{"argv":["true"],"handler":null,"arguments":{},"cwd":null,"env":{},"pass_env":[],"stdin":null,"stdin_path":null,"queue":"default","priority":"normal","sequential":false,"after":[],"after_any":[],"after_failure":[],"delay":null,"at":null,"timeout":null,"retries":null,"retry":null,"backoff":null,"backoff_base":null,"backoff_cap":null,"unique":null,"locks":[],"name":"beat","meta":{},"on_dead":null,"escalate_after":null,"ref":null},"origin":{"caller":"person","session":null,"project":null,"client":null},"program":"/usr/bin/true","executable":"/usr/bin/true","cwd":"/srv/project","env":{"PATH":"/usr/bin:/bin","HOME":"/home/user"},"retry":{"retries":3,"backoff":"exponential","base":10.0,"cap":3600.0,"jitter":0.0},"timeout":null,"due_at":null,"held":null,"on_dead":[],"escalated_from":null,"schedule":"beat","spool_id":null}',1795357264.52968,1795360864.52968,1795357264.52968,'person',NULL,NULL,2,NULL,NULL);
INSERT INTO "schedules" VALUES('nightly','0 3 * * *',NULL,'UTC','once','{"job":{"argv":["true"],"handler":null,"arguments":{},"cwd":null,"env":{},"pass_env":[],"stdin":null,"stdin_path":null,"queue":"default","priority":"normal","sequential":false,"after":[],"after_any":[],"after_failure":[],"delay":null,"at":null,"timeout":null,"retries":null,"retry":null,"backoff":null,"backoff_base":null,"backoff_cap":null,"unique":null,"locks":[],"name":"nightly","meta":{},"on_dead":null,"escalate_after":null,"ref":null},"origin":{"caller":"person","session":null,"project":null,"client":null},"program":"/usr/bin/true","executable":"/usr/bin/true","cwd":"/srv/project","env":{"PATH":"/usr/bin:/bin","HOME":"/home/user"},"retry":{"retries":3,"backoff":"exponential","base":10.0,"cap":3600.0,"jitter":0.0},"timeout":null,"due_at":null,"held":null,"on_dead":[],"escalated_from":null,"schedule":"nightly","spool_id":null}',1.79535726451726198194e+09,1795402800.0,1.79535726451726198194e+09,'person',NULL,NULL,0,NULL,NULL);
CREATE TABLE spooled (id TEXT PRIMARY KEY, job INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE starts (                              -- of the last minute, where a limit counts them
  queue TEXT NOT NULL,                             -- '' counts all queues together
  at REAL NOT NULL,
  job INTEGER NOT NULL,
  claim INTEGER NOT NULL,
  PRIMARY KEY (queue, at, job, claim)
) WITHOUT ROWID;
CREATE TABLE tasks (
  id TEXT PRIMARY KEY,                             -- cannot be guessed: whoever has it may follow and cancel the job
  job INTEGER NOT NULL UNIQUE REFERENCES jobs ON DELETE CASCADE,
  answers INTEGER NOT NULL DEFAULT 0,              -- how many questions its client's user has been put and answered
  dismissed INTEGER NOT NULL DEFAULT 0             -- the user wants no more of them: a terminal is left
) WITHOUT ROWID;
INSERT INTO "tasks" VALUES('vq2Zt0Wn8pRk5sYb3LhXcA',10,0,0);
CREATE TABLE worker_handlers (
  handler TEXT NOT NULL,
  worker TEXT NOT NULL,
  PRIMARY KEY (handler, worker)
) WITHOUT ROWID;
CREATE TABLE workers (
  id TEXT PRIMARY KEY,
  pid INTEGER NOT NULL,
  host TEXT NOT NULL,
  keeper TEXT,
  claiming INTEGER NOT NULL DEFAULT 1,           -- 0: it only ends what it has
  booted_by TEXT,                                -- the session whose server booted it
  version TEXT NOT NULL,
  started_at REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "workers" VALUES('w1',1,'somewhere','k1',1,NULL,'0',1.79535726439102697373e+09);
CREATE INDEX jobs_scheduled ON jobs (due_at) WHERE state = 'scheduled';
CREATE INDEX jobs_running ON jobs (host, queue) WHERE state = 'running';
CREATE INDEX jobs_waiting ON jobs (state, id) WHERE state IN ('held', 'blocked', 'dead');
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_completions ON jobs (ended) WHERE ended IS NOT NULL;
CREATE UNIQUE INDEX jobs_unique ON jobs (unique_key) WHERE unique_key IS NOT NULL AND state IN ('held', 'blocked', 'scheduled', 'available', 'running');
CREATE INDEX dependencies_open ON dependencies (needs) WHERE met = 0;
CREATE TRIGGER jobs_enter BEFORE INSERT ON jobs WHEN new.state NOT IN ('available', 'scheduled', 'blocked', 'held')
BEGIN SELECT RAISE(ABORT, 'a job cannot begin in this state'); END;
CREATE TRIGGER jobs_move BEFORE UPDATE OF state ON jobs
WHEN old.state <> new.state AND old.state || '>' || new.state NOT IN ('available>cancelled', 'available>held', 'available>running', 'blocked>available', 'blocked>cancelled', 'blocked>scheduled', 'cancelled>available', 'dead>available', 'dead>cancelled', 'held>available', 'held>blocked', 'held>cancelled', 'held>scheduled', 'running>available', 'running>cancelled', 'running>dead', 'running>scheduled', 'running>succeeded', 'scheduled>available', 'scheduled>cancelled', 'succeeded>available')
BEGIN SELECT RAISE(ABORT, 'no event of the table leads to this state'); END;
CREATE INDEX schedules_due ON schedules (next_at) WHERE paused = 0 AND next_at IS NOT NULL;
CREATE INDEX schedules_decided ON schedules (decided_at) WHERE paused = 0 AND next_at IS NOT NULL;
CREATE INDEX queues_ready ON queues (turn)
  WHERE paused = 0 AND barred = 0 AND ready > 0 AND running < slots AND rests_until IS NULL;
CREATE INDEX queues_handled ON queues (turn)
  WHERE paused = 0 AND barred = 0 AND handled > 0 AND running < slots AND rests_until IS NULL;
CREATE INDEX queues_resting ON queues (rests_until) WHERE rests_until IS NOT NULL;
CREATE INDEX jobs_parked ON jobs (parked, queue, handler, priority, id) WHERE parked IS NOT NULL;
CREATE INDEX jobs_available ON jobs (queue, priority, id)
  WHERE state = 'available' AND parked IS NULL AND handler IS NULL;
CREATE INDEX jobs_handled ON jobs (handler, queue, parked, priority, id)
  WHERE state = 'available' AND handler IS NOT NULL;
CREATE INDEX jobs_handled_order ON jobs (queue, priority, id)
  WHERE state = 'available' AND parked IS NULL AND handler IS NOT NULL;
CREATE INDEX jobs_barriers ON jobs (queue, priority, id)
  WHERE state = 'available' AND parked IS NULL AND sequential = 1;
CREATE INDEX jobs_successors ON jobs (escalated_from) WHERE escalated_from IS NOT NULL;
CREATE INDEX jobs_project ON jobs (project) WHERE project IS NOT NULL AND state IN ('held', 'blocked', 'scheduled', 'available');
CREATE INDEX jobs_session ON jobs (session) WHERE session IS NOT NULL AND state IN ('held', 'blocked', 'scheduled', 'available');
CREATE INDEX attempts_ended ON attempts (finished_at, outcome, exit_code, started_at, waited);
CREATE INDEX jobs_pinned ON jobs (pinned, pinned_at) WHERE pinned IS NOT NULL;
CREATE TRIGGER jobs_added AFTER INSERT ON jobs
BEGIN UPDATE queues SET held = held + (new.state = 'held'), blocked = blocked + (new.state = 'blocked'), scheduled = scheduled + (new.state = 'scheduled'), available = available + (new.state = 'available'), running = running + (new.state = 'running'), succeeded = succeeded + (new.state = 'succeeded'), dead = dead + (new.state = 'dead'), cancelled = cancelled + (new.state = 'cancelled'), ready = ready + (new.state = 'available' AND new.parked IS NULL AND new.handler IS NULL), handled = handled + (new.state = 'available' AND new.parked IS NULL AND new.handler IS NOT NULL), barred = barred + (new.state = 'running' AND new.sequential) WHERE name = new.queue; END;
CREATE TRIGGER jobs_removed AFTER DELETE ON jobs
BEGIN UPDATE queues SET held = held - (old.state = 'held'), blocked = blocked - (old.state = 'blocked'), scheduled = scheduled - (old.state = 'scheduled'), available = available - (old.state = 'available'), running = running - (old.state = 'running'), succeeded = succeeded - (old.state = 'succeeded'), dead = dead - (old.state = 'dead'), cancelled = cancelled - (old.state = 'cancelled'), ready = ready - (old.state = 'available' AND old.parked IS NULL AND old.handler IS NULL), handled = handled - (old.state = 'available' AND old.parked IS NULL AND old.handler IS NOT NULL), barred = barred - (old.state = 'running' AND old.sequential) WHERE name = old.queue; END;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state, parked ON jobs
WHEN old.state <> new.state OR old.parked IS NOT new.parked
BEGIN UPDATE queues SET held = held + (new.state = 'held') - (old.state = 'held'), blocked = blocked + (new.state = 'blocked') - (old.state = 'blocked'), scheduled = scheduled + (new.state = 'scheduled') - (old.state = 'scheduled'), available = available + (new.state = 'available') - (old.state = 'available'), running = running + (new.state = 'running') - (old.state = 'running'), succeeded = succeeded + (new.state = 'succeeded') - (old.state = 'succeeded'), dead = dead + (new.state = 'dead') - (old.state = 'dead'), cancelled = cancelled + (new.state = 'cancelled') - (old.state = 'cancelled'), ready = ready + (new.state = 'available' AND new.parked IS NULL AND new.handler IS NULL) - (old.state = 'available' AND old.parked IS NULL AND old.handler IS NULL), handled = handled + (new.state = 'available' AND new.parked IS NULL AND new.handler IS NOT NULL) - (old.state = 'available' AND old.parked IS NULL AND old.handler IS NOT NULL), barred = barred + (new.state = 'running' AND new.sequential) - (old.state = 'running' AND old.sequential) WHERE name = new.queue; END;
CREATE TRIGGER jobs_added_unmanned AFTER INSERT ON jobs WHEN new.state = 'available' AND new.handler IS NOT NULL AND new.parked IS NULL AND NOT EXISTS (SELECT 1 FROM worker_handlers WHERE handler = new.handler) BEGIN UPDATE jobs SET parked = '@' || new.handler WHERE id = new.id; END;
CREATE TRIGGER jobs_moved_unmanned AFTER UPDATE OF state, parked ON jobs WHEN new.state = 'available' AND new.handler IS NOT NULL AND new.parked IS NULL AND NOT EXISTS (SELECT 1 FROM worker_handlers WHERE handler = new.handler) BEGIN UPDATE jobs SET parked = '@' || new.handler WHERE id = new.id; END;
CREATE TRIGGER audit_stands BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'what has been done stays done'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',12);
INSERT INTO "sqlite_sequence" VALUES('audit',13);
COMMIT;
PRAGMA user_version = 4;
PRAGMA application_id = 1920298609;

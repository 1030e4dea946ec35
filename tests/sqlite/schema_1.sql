-- A database as the first schema's runq has written it, with jobs in every state.
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
  tail BLOB NOT NULL DEFAULT x'',
  PRIMARY KEY (job, claim),                      -- a result is recorded once
  CHECK (outcome <> 'exited' OR exit_code IS NOT NULL),
  CHECK (outcome <> 'signalled' OR signal IS NOT NULL)
) WITHOUT ROWID;
INSERT INTO "attempts" VALUES(1,1,'exited',0,NULL,NULL,'somewhere',1.7953491103650355339e+09,1.79534911038517665865e+09,0.001255,0.0,10468,0,0,X'');
INSERT INTO "attempts" VALUES(2,1,'exited',1,NULL,NULL,'somewhere',1.7953491103650355339e+09,1.79534911038538885115e+09,0.0,1.09999999999999984942e-03,10468,0,0,X'');
INSERT INTO "attempts" VALUES(3,1,'exited',1,NULL,NULL,'somewhere',1.7953491103650355339e+09,1.79534911038663506509e+09,0.001192,0.0,10468,0,0,X'');
INSERT INTO "attempts" VALUES(4,1,'exited',0,NULL,NULL,'somewhere',1.79534911038674616819e+09,1.79534911039334869387e+09,0.001498,0.0,10468,8,0,X'696E73746561640A');
CREATE TABLE dependencies (
  job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
  needs INTEGER NOT NULL,
  condition TEXT NOT NULL CHECK (condition IN ('success', 'any', 'failure')),
  met INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (job, needs, condition)
) WITHOUT ROWID;
INSERT INTO "dependencies" VALUES(5,2,'success',0);
CREATE TABLE inputs (job INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE, stdin BLOB NOT NULL);
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
  reason TEXT,                                   -- why it is where it is, in words

  CHECK ((state = 'running') = (lease_token IS NOT NULL)),
  CHECK ((state = 'running') = (worker IS NOT NULL)),
  CHECK ((state IN ('succeeded', 'dead', 'cancelled')) = (finished_at IS NOT NULL)),
  CHECK ((finished_at IS NULL) = (ended IS NULL)),
  CHECK (state <> 'scheduled' OR due_at IS NOT NULL),
  CHECK (state <> 'blocked' OR unmet > 0),
  CHECK (parked IS NULL OR state = 'available'),
  CHECK (cancel_requested = 0 OR state = 'running')
);
INSERT INTO "jobs" VALUES(1,'succeeded','default',2,0,NULL,0,NULL,'["true"]','/usr/bin/true','/usr/bin/true','/','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',3,NULL,NULL,NULL,'succeeded',NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79534910983559131626e+09,1.7953491103650355339e+09,1.79534911038517665865e+09,1,1,1,0,0,NULL,NULL,NULL,'somewhere',0,'exited',0,NULL,NULL);
INSERT INTO "jobs" VALUES(2,'dead','default',2,0,NULL,0,NULL,'["false"]','/usr/bin/false','/usr/bin/false','/','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',0,NULL,'["/usr/bin/echo","echo","instead"]',NULL,'dead',NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79534910994547915455e+09,1.7953491103650355339e+09,1.79534911038538885115e+09,2,1,1,1,0,NULL,NULL,NULL,'somewhere',0,'exited',1,NULL,'exited with code 1');
INSERT INTO "jobs" VALUES(3,'scheduled','default',2,0,1.79535271039190220832e+09,0,NULL,'["false"]','/usr/bin/false','/usr/bin/false','/','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',3,NULL,NULL,NULL,'backing-off',NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79534911003878688805e+09,1.7953491103650355339e+09,NULL,NULL,1,1,1,0,NULL,NULL,NULL,'somewhere',0,'exited',1,NULL,'exited with code 1');
INSERT INTO "jobs" VALUES(4,'succeeded','default',2,0,NULL,0,NULL,'["echo","instead"]','/usr/bin/echo','/usr/bin/echo','/','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',0,NULL,NULL,2,'dead',NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79534911038674616819e+09,1.79534911038674616819e+09,1.79534911039334869387e+09,3,1,1,0,0,NULL,NULL,NULL,'somewhere',0,'exited',0,NULL,NULL);
INSERT INTO "jobs" VALUES(5,'blocked','default',2,0,NULL,1,NULL,'["true"]','/usr/bin/true','/usr/bin/true','/','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',3,NULL,NULL,NULL,'blocked',NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79534911055182385452e+09,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(6,'cancelled','default',2,0,NULL,0,NULL,'["true"]','/usr/bin/true','/usr/bin/true','/','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',3,NULL,NULL,NULL,'pinned',NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,'person',1.79534911063980722424e+09,NULL,1.79534911073433566097e+09,4,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,'cancelled');
INSERT INTO "jobs" VALUES(7,'scheduled','default',2,0,1.8953491109829638004e+09,0,NULL,'["true"]','/usr/bin/true','/usr/bin/true','/','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',3,NULL,NULL,NULL,'later',NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.7953491109829638004e+09,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(8,'running','default',2,0,NULL,0,NULL,'["sleep","1000"]','/usr/bin/sleep','/usr/bin/sleep','/','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',1,'["gpu"]',NULL,NULL,'running',NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79534911107347941398e+09,1.79534911135139107702e+09,NULL,NULL,1,1,0,0,'a2d3b3bf5e90ac21a7392056','6e0c96cb8c9d8949','9831b2c4c22b','somewhere',0,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(9,'available','default',2,0,NULL,0,'gpu','["true"]','/usr/bin/true','/usr/bin/true','/','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',3,'["gpu"]',NULL,NULL,'parked',NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79534911329879212377e+09,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(10,'available','other',2,1,NULL,0,NULL,'["true"]','/usr/bin/true','/usr/bin/true','/','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',3,NULL,NULL,NULL,'barrier',NULL,NULL,'person',NULL,NULL,NULL,NULL,NULL,NULL,1.79534911339838480952e+09,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(11,'held','default',2,0,NULL,0,NULL,'["true"]','/usr/bin/true','/usr/bin/true','/tmp','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',3,NULL,NULL,NULL,'held',NULL,NULL,'agent',NULL,'/tmp',NULL,NULL,NULL,NULL,1.79534911351023101803e+09,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,'no rule covers this command');
INSERT INTO "jobs" VALUES(12,'available','default',1,0,NULL,0,NULL,'["echo","hi"]','/usr/bin/echo','/usr/bin/echo','/','{"PATH":"/usr/bin:/bin","LANG":"C.UTF-8","HOME":"/home/somebody"}',NULL,NULL,NULL,'["exponential",3600.0,3600.0,0.0]',3,NULL,NULL,NULL,'available',NULL,'{"k":"v"}','person',NULL,NULL,NULL,NULL,NULL,NULL,1.79534911479459214213e+09,NULL,NULL,NULL,0,0,0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL);
CREATE TABLE locks (
  name TEXT PRIMARY KEY,
  capacity INTEGER NOT NULL CHECK (capacity > 0),
  used INTEGER NOT NULL DEFAULT 0 CHECK (used >= 0)
) WITHOUT ROWID;
INSERT INTO "locks" VALUES('gpu',1,1);
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('ended',4);
INSERT INTO "meta" VALUES('max_running',8);
INSERT INTO "meta" VALUES('parallelism',4);
CREATE TABLE queues (
  name TEXT PRIMARY KEY,
  paused INTEGER NOT NULL DEFAULT 0,
  slots INTEGER NOT NULL CHECK (slots > 0),      -- its parallelism, over all processes
  own_slots INTEGER NOT NULL DEFAULT 0,          -- slots are this queue's own, not the default
  turn INTEGER NOT NULL DEFAULT 0,               -- queues take turns: the smallest is served next
  held INTEGER NOT NULL DEFAULT 0, blocked INTEGER NOT NULL DEFAULT 0, scheduled INTEGER NOT NULL DEFAULT 0, available INTEGER NOT NULL DEFAULT 0, running INTEGER NOT NULL DEFAULT 0, succeeded INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0, cancelled INTEGER NOT NULL DEFAULT 0, ready INTEGER NOT NULL DEFAULT 0, barred INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO "queues" VALUES('default',1,4,0,5,1,1,2,2,1,2,1,1,1,0);
INSERT INTO "queues" VALUES('other',1,4,0,0,0,0,0,1,0,0,0,0,1,0);
CREATE TABLE spooled (id TEXT PRIMARY KEY, job INTEGER NOT NULL) WITHOUT ROWID;
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
INSERT INTO "workers" VALUES('6e0c96cb8c9d8949',23204,'somewhere','9831b2c4c22b',1,NULL,'0.1.0',1.79534911134546685219e+09);
CREATE INDEX queues_ready ON queues (turn) WHERE paused = 0 AND barred = 0 AND ready > 0 AND running < slots;
CREATE INDEX jobs_available ON jobs (queue, priority, id) WHERE state = 'available' AND parked IS NULL;
CREATE INDEX jobs_parked ON jobs (parked, queue, priority, id) WHERE parked IS NOT NULL;
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
CREATE TRIGGER jobs_added AFTER INSERT ON jobs
BEGIN UPDATE queues SET held = held + (new.state = 'held'), blocked = blocked + (new.state = 'blocked'), scheduled = scheduled + (new.state = 'scheduled'), available = available + (new.state = 'available'), running = running + (new.state = 'running'), succeeded = succeeded + (new.state = 'succeeded'), dead = dead + (new.state = 'dead'), cancelled = cancelled + (new.state = 'cancelled'), ready = ready + (new.state = 'available' AND new.parked IS NULL), barred = barred + (new.state = 'running' AND new.sequential) WHERE name = new.queue; END;
CREATE TRIGGER jobs_removed AFTER DELETE ON jobs
BEGIN UPDATE queues SET held = held - (old.state = 'held'), blocked = blocked - (old.state = 'blocked'), scheduled = scheduled - (old.state = 'scheduled'), available = available - (old.state = 'available'), running = running - (old.state = 'running'), succeeded = succeeded - (old.state = 'succeeded'), dead = dead - (old.state = 'dead'), cancelled = cancelled - (old.state = 'cancelled'), ready = ready - (old.state = 'available' AND old.parked IS NULL), barred = barred - (old.state = 'running' AND old.sequential) WHERE name = old.queue; END;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state, parked ON jobs
WHEN old.state <> new.state OR old.parked IS NOT new.parked
BEGIN UPDATE queues SET held = held + (new.state = 'held') - (old.state = 'held'), blocked = blocked + (new.state = 'blocked') - (old.state = 'blocked'), scheduled = scheduled + (new.state = 'scheduled') - (old.state = 'scheduled'), available = available + (new.state = 'available') - (old.state = 'available'), running = running + (new.state = 'running') - (old.state = 'running'), succeeded = succeeded + (new.state = 'succeeded') - (old.state = 'succeeded'), dead = dead + (new.state = 'dead') - (old.state = 'dead'), cancelled = cancelled + (new.state = 'cancelled') - (old.state = 'cancelled'), ready = ready + (new.state = 'available' AND new.parked IS NULL) - (old.state = 'available' AND old.parked IS NULL), barred = barred + (new.state = 'running' AND new.sequential) - (old.state = 'running' AND old.sequential) WHERE name = new.queue; END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',12);
COMMIT;
PRAGMA user_version = 1;
PRAGMA application_id = 1920298609;

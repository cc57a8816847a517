"""What mends each kind of finding in each framework, with the names of its settings and libraries."""

from typing import Final

from fungible.check.model import Kind

_DJANGO: Final[dict[Kind, str]] = {
    "session": 'Set `SESSION_ENGINE = "django.contrib.sessions.backends.db"` with a `DATABASES` entry that '
    'all instances share, or `"…backends.cache"` with `CACHES` on '
    '`django.core.cache.backends.redis.RedisCache`. The `"file"` backend and `LocMemCache` (what `CACHES` is '
    "by default) keep sessions in one instance.",
    "data-on-local-disk": 'Point `DATABASES["default"]` at PostgreSQL or MySQL (`ENGINE = '
    '"django.db.backends.postgresql"`, `HOST` and `PASSWORD` from the environment) in place of '
    '`"django.db.backends.sqlite3"`.',
    "upload": 'Set `STORAGES["default"]["BACKEND"] = "storages.backends.s3.S3Storage"` (`django-storages`); '
    "`MEDIA_ROOT` on the instance's disk is seen by that instance only.",
    "in-process-data": "Move the data from module-level or class attributes into a model, or into "
    "`django.core.cache.cache` with `CACHES` on a shared backend (Redis, Memcached).",
    "per-instance-secret": 'Set `SECRET_KEY = os.environ["SECRET_KEY"]`, the same on all instances; no '
    "`get_random_secret_key()` at start. To rotate, put the old key into `SECRET_KEY_FALLBACKS` (Django 4.1 "
    "and later).",
    "revived-session": 'With `SESSION_ENGINE` `"…backends.cached_db"` or `"…backends.cache"` on '
    "`LocMemCache`, other instances keep a signed-out session in their own memory: use "
    '`"django.contrib.sessions.backends.db"`, or put `CACHES` on Redis. `"…backends.signed_cookies"` can not '
    "end a session at all before it expires.",
    "rate-limit": "Django REST framework's throttles, django-ratelimit and django-axes with its cache handler "
    'count in `CACHES["default"]`: set it to `django.core.cache.backends.redis.RedisCache`. For django-axes '
    "the database handler (`axes.handlers.database.AxesDatabaseHandler`, the default) is shared as well.",
    "job-progress": "Write status and progress to a model, keyed by the job's ID. With Celery, set a result "
    'backend (`CELERY_RESULT_BACKEND = "redis://…"` under `namespace="CELERY"`) and report with '
    '`self.update_state(state="PROGRESS", meta=…)`.',
    "unsafe-repeat": "Give the model a `UniqueConstraint` on the request's idempotency key (or on its natural "
    "key) and create with `get_or_create()` inside `transaction.atomic()`, so that a repeat finds the first "
    "row.",
    "lost-update": "Read with `select_for_update()` inside `transaction.atomic()`, or let the database "
    'compute: `update(stock=F("stock") - 1)`. `request.session` is saved as a whole and the last writer wins: '
    "keep what parallel requests change (a cart) in a model.",
    "drops-requests": "Serve with gunicorn (`--graceful-timeout 30`) or uvicorn (`--timeout-graceful-shutdown "
    "30`), not with `runserver`, and start it with `exec` so that it receives SIGTERM.",
    "oversized-cookie": 'Leave `SESSION_ENGINE` `"…backends.signed_cookies"` for `"…backends.db"` or a shared '
    'cache, and set `MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"`.',
    "cache": 'Set `CACHES["default"]["BACKEND"] = "django.core.cache.backends.redis.RedisCache"` (or '
    "`PyMemcacheCache`); the default `LocMemCache` is one cache per process. Replace `functools.lru_cache` on "
    "changing data, and delete the key when the value is saved.",
}

_FLASK: Final[dict[Kind, str]] = {
    "session": 'Use Flask-Session with `SESSION_TYPE = "redis"` and `SESSION_REDIS = '
    'redis.Redis.from_url(…)`, or `SESSION_TYPE = "sqlalchemy"`; not `"filesystem"` or a local `"cachelib"`. '
    "Flask's own cookie session needs no store, only the same `SECRET_KEY` everywhere.",
    "data-on-local-disk": "Point `SQLALCHEMY_DATABASE_URI` at PostgreSQL or MySQL, from the environment, in "
    "place of `sqlite:///…`; do not write to `app.instance_path`.",
    "upload": "Send the file on to object storage, boto3's `upload_fileobj(request.files[…], bucket, key)`, "
    "in place of saving it under `UPLOAD_FOLDER`, and serve it with a presigned URL.",
    "in-process-data": "Move the data from module-level variables and `app.config` into a database or Redis; "
    "`flask.g` lives for one request, a global for one process.",
    "per-instance-secret": 'Set `app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]`, the same on all '
    "instances; no `os.urandom()` or `secrets.token_hex()` at start. The same goes for `WTF_CSRF_SECRET_KEY`. "
    "To rotate, list old keys in `SECRET_KEY_FALLBACKS` (Flask 3.1.1 and later).",
    "revived-session": "Flask's cookie session can not be ended by the server: a copy of the cookie stays "
    'valid. Keep the session on the server (Flask-Session, `SESSION_TYPE = "redis"`), or a session ID in the '
    "cookie that is looked up in a shared table on every request and deleted at sign-out.",
    "rate-limit": 'Give Flask-Limiter a shared store: `Limiter(…, storage_uri="redis://…")` or '
    "`RATELIMIT_STORAGE_URI`; its default, `memory://`, counts in each process.",
    "job-progress": "Run jobs with Celery (`result_backend` on Redis, `self.update_state`) or RQ (`job.meta` "
    "and `job.save_meta()`), and let the status route read there, not in a dict of threads.",
    "unsafe-repeat": "Store the `Idempotency-Key` in a column with `UniqueConstraint`, in the same "
    "transaction as the effect; on `IntegrityError` roll back and answer with the first result.",
    "lost-update": "Use SQLAlchemy's `version_id_col` or `with_for_update()`. Flask's cookie session is "
    "replaced as a whole, so of two answers the last `Set-Cookie` wins: keep what parallel requests change (a "
    "cart) in a database.",
    "drops-requests": "Serve with gunicorn (`--graceful-timeout 30`), not with `flask run`, and start it with "
    "`exec` so that it receives SIGTERM.",
    "oversized-cookie": "Flask keeps the whole session in the cookie: move it to the server with "
    'Flask-Session (`SESSION_TYPE = "redis"`), or keep only IDs in it.',
    "cache": 'Set `CACHE_TYPE = "RedisCache"` and `CACHE_REDIS_URL` for Flask-Caching; `"SimpleCache"` is one '
    "cache per process. Replace `functools.lru_cache` on changing data, and delete the key when the value is "
    "written.",
}

_FASTAPI: Final[dict[Kind, str]] = {
    "session": "Keep session records in Redis or the database under a random ID in a cookie, in place of a "
    "dict in the process. Starlette's `SessionMiddleware` keeps the session in a signed cookie and only needs "
    "the same `secret_key` everywhere.",
    "data-on-local-disk": "Point the engine (`create_engine()`, `create_async_engine()`) at PostgreSQL or "
    "MySQL, with the URL from the environment, in place of `sqlite:///…`.",
    "upload": "Stream the `UploadFile` to object storage (boto3's `upload_fileobj(file.file, bucket, key)`) "
    "in place of `open(…)`, and serve it with a presigned URL, not with `StaticFiles` on the instance's disk.",
    "in-process-data": "Move the data from module-level variables and `app.state` into a database or Redis; "
    "`app.state` is for connections and settings, and each worker process has its own.",
    "per-instance-secret": 'Pass `SessionMiddleware(secret_key=os.environ["SESSION_SECRET"])`, and read the '
    "key that signs your JWTs the same way, the same on all instances; no `secrets.token_hex()` at start. "
    "While rotating, verify JWTs with the old key too, chosen by `kid`.",
    "revived-session": "A JWT, and the cookie of Starlette's `SessionMiddleware`, stay valid after sign-out. "
    "Give them a short life and check their ID (`jti`) in Redis or the database on each request, in a "
    "dependency that all protected routes share.",
    "rate-limit": 'Give slowapi a shared store: `Limiter(key_func=…, storage_uri="redis://…")`; its default '
    "counts in each process.",
    "job-progress": "Run long work with Celery or arq rather than `BackgroundTasks`, and keep status and "
    "result in Redis or the database under the job's ID.",
    "unsafe-repeat": "Take the key as a parameter (`Annotated[str, Header()]` named `idempotency_key`) and "
    "store it under a unique constraint in the same transaction as the effect; on `IntegrityError` answer "
    "with the first result.",
    "lost-update": 'Use SQLAlchemy\'s `version_id_col` (`__mapper_args__ = {"version_id_col": …}`) or '
    "`with_for_update()`. Starlette's `SessionMiddleware` replaces the whole cookie, so of two answers the "
    "last one wins: keep what parallel requests change in a database.",
    "drops-requests": "Start `exec uvicorn … --timeout-graceful-shutdown 30` without `--reload`: uvicorn "
    "finishes the requests under way when SIGTERM reaches it, which a shell or `npm` in between may prevent.",
    "oversized-cookie": "`SessionMiddleware` keeps the whole session in the cookie: keep only an ID in "
    "`request.session` and the data in Redis or the database; in JWTs, drop claims that can be looked up.",
    "cache": "Replace `functools.lru_cache`, cachetools or fastapi-cache's `InMemoryBackend` by Redis "
    "(`RedisBackend`), and delete the key when the value is written.",
}

_EXPRESS: Final[dict[Kind, str]] = {
    "session": "Give `express-session` a store: `store: new RedisStore({ client })` from `connect-redis`; its "
    "default `MemoryStore` keeps sessions in one process.",
    "data-on-local-disk": "Use a database server (PostgreSQL by pg or Prisma, MySQL, MongoDB) with its URL "
    "from `process.env.DATABASE_URL`, in place of SQLite, lowdb or JSON files.",
    "upload": "Give multer the storage engine `multer-s3`, or take the file with `multer.memoryStorage()` and "
    "send it to S3; `dest` and `diskStorage()` write to the instance's disk.",
    "in-process-data": "Move the data from module-level objects, `Map` and `app.locals` into a database or "
    "Redis. For Socket.IO rooms use `@socket.io/redis-adapter`.",
    "per-instance-secret": "Set `secret: process.env.SESSION_SECRET` for `express-session` (and for "
    "`cookie-parser`, `jsonwebtoken` and the CSRF library), the same on all instances; no "
    "`crypto.randomBytes()` at start. To rotate, pass an array to `express-session`: the first secret signs, "
    "all verify.",
    "revived-session": "Call `req.session.destroy()` with a shared store, and set `resave: false`, or a slow "
    "request writes the session back after sign-out. A JWT needs a short life and a check of its `jti` in "
    "Redis.",
    "rate-limit": "Give `express-rate-limit` the store of `rate-limit-redis`: `store: new RedisStore({ "
    "sendCommand: (...args) => client.sendCommand(args) })`; its default `MemoryStore` counts in each process.",
    "job-progress": "Put jobs on BullMQ: `job.updateProgress()` and the result are kept in Redis, and any "
    "instance reads them with `queue.getJob(id)`.",
    "unsafe-repeat": "Store the `Idempotency-Key` under a unique index in the same transaction as the effect; "
    "on a duplicate key answer with the first result.",
    "lost-update": "Update with a version in the `WHERE` clause, or `SELECT … FOR UPDATE` in a transaction "
    "(in Mongoose, `optimisticConcurrency: true`). `express-session` saves the whole session: set `resave: "
    "false`, and keep what parallel requests change in a database.",
    "drops-requests": 'Handle the signal: `process.on("SIGTERM", () => server.close(() => process.exit(0)))`, '
    "and start `exec node server.js` rather than `npm start`, which may not pass the signal on. On Node 18 "
    "also call `server.closeIdleConnections()`.",
    "oversized-cookie": "`cookie-session` keeps the whole session in the cookie: use `express-session` with "
    "`connect-redis`, which keeps only the ID there; in JWTs, drop claims that can be looked up.",
    "cache": "Replace `node-cache`, `lru-cache` or a `Map` by Redis, with a lifetime (`SET key value EX 30`), "
    "and delete the key when the value is written.",
    "validator": "`express.static` and `send` make the ETag from a file's size and time of change: keep the times when "
    "files are deployed (`cp -p`, or one image for all instances), or serve names that hold a hash of the content. For "
    "answers of your own, `res.send()` hashes the body already.",
    "sticky-cookie": "Remove the affinity cookie at the load balancer. Socket.IO needs affinity only for long "
    'polling: with `transports: ["websocket"]` on the client and `@socket.io/redis-adapter` on the server it '
    "does without.",
}

_SPRING: Final[dict[Kind, str]] = {
    "session": "Add `spring-session-data-redis` and set `spring.data.redis.url` (or use "
    "`spring-session-jdbc`): `HttpSession` then lives in the shared store. Session attributes have to be "
    "serializable.",
    "data-on-local-disk": "Set `spring.datasource.url` to PostgreSQL or MySQL, from the environment, in place "
    "of `jdbc:h2:file:…` or `jdbc:sqlite:…`.",
    "upload": "Write `MultipartFile` streams to object storage (`S3Template` of Spring Cloud AWS, or the AWS "
    "SDK) in place of `transferTo(…)` on the instance's disk.",
    "in-process-data": "Move the data from fields of singleton beans, static maps or `jdbc:h2:mem:…` into a "
    "database or Redis that all instances share.",
    "per-instance-secret": "Read signing keys from the environment or a mounted secret: the JWT key or "
    "`JWKSource`, and `rememberMe(r -> r.key(…))`, which is drawn at each start if it is not set. Set "
    "`spring.security.user.password` as well, or remove that user.",
    "revived-session": "With Spring Session in a shared store, `session.invalidate()` ends the session "
    "everywhere; a `SessionRegistry` in memory does not: use `SpringSessionBackedSessionRegistry`. A JWT "
    "needs a short life and a check of its `jti` in a shared store.",
    "rate-limit": "Count in a shared store: Bucket4j with a Redis or JDBC `ProxyManager`, or "
    "`RequestRateLimiter` of Spring Cloud Gateway (Redis). Resilience4j's `RateLimiter` counts in each "
    "process.",
    "job-progress": "Keep status and result in the database: Spring Batch's `JobRepository` with a JDBC "
    "`DataSource`, or a table that the `@Async` method updates, in place of a map of futures.",
    "unsafe-repeat": "Store the `Idempotency-Key` under a unique constraint in the same `@Transactional` "
    "method as the effect; on `DataIntegrityViolationException` answer with the first result.",
    "lost-update": "Put `@Version` on the entity and retry on `ObjectOptimisticLockingFailureException`, or "
    "read with `@Lock(LockModeType.PESSIMISTIC_WRITE)`.",
    "drops-requests": "Set `server.shutdown=graceful` (the default from Spring Boot 3.4) and "
    "`spring.lifecycle.timeout-per-shutdown-phase=30s`, and start `exec java -jar …` so that it receives "
    "SIGTERM.",
    "cache": "Set `spring.cache.type=redis` (with `spring-boot-starter-data-redis`) in place of `simple` or "
    "`caffeine`, with a time to live, and `@CacheEvict` where the value is written.",
    "sticky-cookie": "Remove `jvmRoute` from Tomcat's Engine (it is appended to `JSESSIONID`) and the "
    "affinity at the load balancer, once sessions live in Spring Session.",
}

_SERVLET: Final[dict[Kind, str]] = {
    "session": "Keep `HttpSession` in a shared store: in Tomcat a `PersistentManager` with a `DataSourceStore`, or "
    "Redisson's `RedissonSessionManager`; in Jetty the module `session-store-jdbc`; in WildFly `<distributable/>` in "
    "`web.xml`. With Spring, add Spring Session. Session attributes have to be serializable.",
    "sticky-cookie": "Remove `jvmRoute` from Tomcat's Engine, or the worker name from Jetty's session ID manager (it "
    "is appended to `JSESSIONID`), and the affinity at the load balancer, once sessions are in a shared store.",
}

_RACK: Final[dict[Kind, str]] = {
    "session": "In place of `Rack::Session::Pool`, which keeps sessions in one process, use a shared store (the gems "
    "redis-rack or dalli), or `Rack::Session::Cookie` with one `secret` for all instances.",
    "per-instance-secret": "Set the session's secret from the environment, the same on all instances: "
    '`use Rack::Session::Cookie, secret: ENV.fetch("SESSION_SECRET")`, in Sinatra `set :session_secret, …`. Sinatra '
    "draws one at each start where none is set. To rotate, pass the old one as `old_secret`.",
}

_PHP: Final[dict[Kind, str]] = {
    "session": 'Set `session.save_handler = redis` and `session.save_path = "tcp://redis:6379"` in `php.ini` '
    "(extension phpredis); the default, `files`, is one instance's disk. Laravel: `SESSION_DRIVER=redis` or "
    "`database`.",
    "data-on-local-disk": "Use MySQL or PostgreSQL for PDO, with the DSN from the environment, in place of "
    "`sqlite:…`. Laravel: `DB_CONNECTION=pgsql` or `mysql`, and nothing under `storage/` that has to last.",
    "upload": "Write uploads to object storage (Flysystem with its S3 adapter) in place of "
    "`move_uploaded_file()` to the instance's disk. Laravel: `FILESYSTEM_DISK=s3`.",
    "in-process-data": "APCu, and variables of a long-running worker (Swoole, RoadRunner, FrankenPHP, "
    "Octane), belong to one instance: keep the data in a database or Redis.",
    "per-instance-secret": "Set the key once for all instances: `APP_KEY` (Laravel) or `APP_SECRET` (Symfony) "
    "from the environment; no `php artisan key:generate` when an instance starts. To rotate, list old keys in "
    "`APP_PREVIOUS_KEYS` (Laravel 11 and later).",
    "revived-session": "Use a shared session store with `session.use_strict_mode = 1`, so that an ID the "
    "server no longer knows is not adopted, and `redis.session.locking_enabled = 1`, so that a slow request "
    "can not write the session back after `session_destroy()`.",
    "rate-limit": "Count in Redis, not in APCu or files. Laravel's `RateLimiter` counts in the cache: "
    "`CACHE_STORE=redis`. Symfony: `framework.rate_limiter` with a `cache_pool` on Redis.",
    "job-progress": "Use a shared queue and keep the progress in its store. Laravel: `QUEUE_CONNECTION=redis` "
    "and `Bus::batch()`, which counts in the table `job_batches`.",
    "unsafe-repeat": "Store the `Idempotency-Key` under a `UNIQUE` index in the same transaction as the "
    "effect; on a duplicate key (SQLSTATE 23000 or 23505) answer with the first result.",
    "lost-update": "Use `SELECT … FOR UPDATE` in a transaction (`lockForUpdate()` in Eloquent) or a version "
    "column. For sessions in Redis set `redis.session.locking_enabled = 1`: phpredis does not lock by "
    "default, as files do. Laravel: `->block()` on the route.",
    "drops-requests": "Stop PHP-FPM with SIGQUIT (SIGTERM cuts requests off): `STOPSIGNAL SIGQUIT` in the "
    "Dockerfile, and `process_control_timeout = 30s`. `php -S` and `artisan serve` are for development only.",
    "oversized-cookie": "Laravel: set `SESSION_DRIVER=redis` or `database` in place of `cookie`. Elsewhere "
    "keep only the session ID in the cookie and the data in `$_SESSION`, in a shared store.",
    "cache": "Use Redis in place of APCu or files. Laravel: `CACHE_STORE=redis` (`CACHE_DRIVER` before "
    "version 11); Symfony: `framework.cache.app: cache.adapter.redis`. Delete the key when the value is "
    "written.",
}

FRAMEWORK_FIXES: Final[dict[str, dict[Kind, str]]] = {
    "django": _DJANGO,
    "flask": _FLASK,
    "fastapi": _FASTAPI,
    "starlette": _FASTAPI,
    "express": _EXPRESS,
    "spring": _SPRING,
    "servlet": _SERVLET,
    "rack": _RACK,
    "php": _PHP,
}

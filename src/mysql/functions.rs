//! The built-in functions of MySQL 8.4 and 9 and of MariaDB 10.6 to 11, and what a call of each
//! means for where a statement may run. A name that is not here is somebody's own function, or a
//! newer server's: it may write.
//!
//! A stored function of a built-in's name is reached by its schema (`app.now()`), which is never
//! taken for the built-in; and some by a blank before the parenthesis (`now ()`).

use super::lexer::Product;

use Function::{
    AsksLock, ConnectionId, Constant, Diagnostics, Gtid, LastInsertId, Pure, ReleasesAllLocks,
    ReleasesLock, Sequence, ServerState, TakesLock,
};

/// What a call of a built-in function means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// It changes nothing, and a replica answers as well as the primary.
    Pure,
    /// The same, and it depends on its arguments only: two servers make the same of it.
    Constant,
    /// It tells about the statement before, on the connection that ran it.
    Diagnostics,
    /// `LAST_INSERT_ID()`, which only the connection that inserted knows.
    LastInsertId,
    /// `CONNECTION_ID()`: clients know the one of the primary.
    ConnectionId,
    /// `GET_LOCK()`.
    TakesLock,
    /// `RELEASE_LOCK()`.
    ReleasesLock,
    /// `RELEASE_ALL_LOCKS()`.
    ReleasesAllLocks,
    /// It asks who holds a lock.
    AsksLock,
    /// It reads or moves a sequence.
    Sequence,
    /// It waits for a position of the replication, or tells one.
    Gtid,
    /// It shows a server's own files or threads.
    ServerState,
}

/// What a call of `name` means; `None` if a server of `product` has no such function built in. With
/// a blank before the parenthesis (`is_apart`) some names are not those of built-in functions,
/// unless `IGNORE_SPACE` is in `sql_mode`, which nobody can see here.
pub fn lookup(name: &[u8], product: Product, is_apart: bool) -> Option<Function> {
    let letter = name.first()?.to_ascii_lowercase();
    let first = usize::from(*STARTS.get(usize::from(letter))?);
    let end = usize::from(*STARTS.get(usize::from(letter.wrapping_add(1)))?);
    let group = FUNCTIONS.get(first..end)?;
    let folded = || name.iter().map(u8::to_ascii_lowercase);
    let found = group.binary_search_by(|(built_in, _)| built_in.iter().copied().cmp(folded()));
    let at = found.ok()?.saturating_add(first);
    let not = match (product, is_apart) {
        (Product::Unknown, false) => 0,
        (Product::Unknown, true) => APART_MYSQL | APART_MARIADB,
        (Product::MySql, false) => NOT_MYSQL,
        (Product::MySql, true) => NOT_MYSQL | APART_MYSQL,
        (Product::MariaDb, false) => NOT_MARIADB,
        (Product::MariaDb, true) => NOT_MARIADB | APART_MARIADB,
    };
    match EXCEPTIONS.get(at)? & not {
        0 => FUNCTIONS.get(at).map(|&(_, function)| function),
        _ => None,
    }
}

/// Where names of the table are somebody's own functions all the same, in its order.
static EXCEPTIONS: [u8; FUNCTIONS.len()] = {
    let exceptions = [0; FUNCTIONS.len()];
    let exceptions = with(exceptions, ONLY_MARIADB, NOT_MYSQL);
    let exceptions = with(exceptions, ONLY_MYSQL, NOT_MARIADB);
    let exceptions = with(exceptions, TOUCHING, APART_MYSQL | APART_MARIADB);
    let exceptions = with(exceptions, TOUCHING_MYSQL, APART_MYSQL);
    with(exceptions, TOUCHING_MARIADB, APART_MARIADB)
};

const NOT_MYSQL: u8 = 1;
const NOT_MARIADB: u8 = 2;
const APART_MYSQL: u8 = 4;
const APART_MARIADB: u8 = 8;

/// Adds an exception for each of `names`, which are sorted and in the table.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "when compiled"
)]
const fn with<const N: usize>(mut all: [u8; N], names: &[&[u8]], exception: u8) -> [u8; N] {
    let (mut at, mut next) = (0, 0);
    while at < N && next < names.len() {
        if same(FUNCTIONS[at].0, names[next]) {
            all[at] |= exception;
            next += 1;
        }
        at += 1;
    }
    assert!(
        next == names.len(),
        "a name is not in the table, or not in order"
    );
    all
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "when compiled"
)]
const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Where the names of each first letter start.
static STARTS: [u16; 129] = starts();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "when compiled"
)]
const fn starts() -> [u16; 129] {
    let mut starts = [0; 129];
    let (mut letter, mut at) = (0, 0);
    while letter < starts.len() {
        while at < FUNCTIONS.len() && (FUNCTIONS[at].0[0] as usize) < letter {
            at += 1;
        }
        starts[letter] = at as u16;
        letter += 1;
    }
    starts
}

/// Sorted by name. The names that only MariaDB still has for geometry without `ST_` (`AREA`,
/// `WITHIN`, `X`) are left out: on MySQL they would be somebody's own functions.
#[rustfmt::skip]
const FUNCTIONS: &[(&[u8], Function)] = &[
    (b"abs", Constant), (b"acos", Pure), (b"add_months", Pure), (b"adddate", Pure),
    (b"addtime", Pure), (b"aes_decrypt", Pure), (b"aes_encrypt", Pure), (b"any_value", Pure),
    (b"ascii", Pure), (b"asin", Pure), (b"atan", Pure), (b"atan2", Pure), (b"avg", Pure),
    (b"benchmark", Pure), (b"bin", Pure), (b"bin_to_uuid", Pure), (b"binary", Pure),
    (b"binlog_gtid_pos", Gtid), (b"bit_and", Pure), (b"bit_count", Pure), (b"bit_length", Pure),
    (b"bit_or", Pure), (b"bit_xor", Pure), (b"cast", Constant), (b"ceil", Constant),
    (b"ceiling", Constant), (b"char", Pure), (b"char_length", Constant),
    (b"character_length", Pure), (b"charset", Pure), (b"chr", Pure), (b"coalesce", Constant),
    (b"coercibility", Pure), (b"collation", Pure), (b"column_add", Pure), (b"column_check", Pure),
    (b"column_create", Pure), (b"column_delete", Pure), (b"column_exists", Pure),
    (b"column_get", Pure), (b"column_json", Pure), (b"column_list", Pure), (b"compress", Pure),
    (b"concat", Constant), (b"concat_operator_oracle", Pure), (b"concat_ws", Constant),
    (b"connection_id", ConnectionId), (b"conv", Pure), (b"convert", Constant),
    (b"convert_tz", Pure), (b"cos", Pure), (b"cot", Pure), (b"count", Pure), (b"crc32", Pure),
    (b"crc32c", Pure), (b"cume_dist", Pure), (b"curdate", Pure), (b"current_date", Pure),
    (b"current_role", Pure), (b"current_time", Pure), (b"current_timestamp", Pure),
    (b"current_user", Pure), (b"currval", Sequence), (b"curtime", Pure), (b"database", Pure),
    (b"date", Pure), (b"date_add", Pure), (b"date_format", Pure), (b"date_sub", Pure),
    (b"datediff", Pure), (b"day", Pure), (b"dayname", Pure), (b"dayofmonth", Pure),
    (b"dayofweek", Pure), (b"dayofyear", Pure), (b"decode", Pure), (b"decode_histogram", Pure),
    (b"decode_oracle", Pure), (b"degrees", Pure), (b"dense_rank", Pure), (b"des_decrypt", Pure),
    (b"des_encrypt", Pure), (b"elt", Pure), (b"encode", Pure), (b"encrypt", Pure), (b"exp", Pure),
    (b"export_set", Pure), (b"extract", Pure), (b"extractvalue", Pure), (b"field", Pure),
    (b"find_in_set", Constant), (b"first_value", Pure), (b"floor", Constant), (b"format", Pure),
    (b"format_bytes", Pure), (b"format_pico_time", Pure), (b"found_rows", Diagnostics),
    (b"from_base64", Pure), (b"from_days", Pure), (b"from_unixtime", Pure),
    (b"from_vector", Pure), (b"geomcollection", Pure), (b"geomcollfromtext", Pure),
    (b"geomcollfromwkb", Pure), (b"geometrycollection", Pure),
    (b"geometrycollectionfromtext", Pure), (b"geometrycollectionfromwkb", Pure),
    (b"geometryfromtext", Pure), (b"geometryfromwkb", Pure), (b"geomfromtext", Pure),
    (b"geomfromwkb", Pure), (b"get_format", Pure), (b"get_lock", TakesLock),
    (b"greatest", Constant), (b"group_concat", Pure), (b"grouping", Pure), (b"gtid_subset", Pure),
    (b"gtid_subtract", Pure), (b"hex", Constant), (b"hour", Pure), (b"icu_version", Pure),
    (b"if", Constant), (b"ifnull", Constant), (b"inet6_aton", Pure), (b"inet6_ntoa", Pure),
    (b"inet_aton", Pure), (b"inet_ntoa", Pure), (b"insert", Pure), (b"instr", Constant),
    (b"interval", Pure), (b"is_free_lock", AsksLock), (b"is_ipv4", Pure),
    (b"is_ipv4_compat", Pure), (b"is_ipv4_mapped", Pure), (b"is_ipv6", Pure),
    (b"is_used_lock", AsksLock), (b"is_uuid", Pure), (b"isnull", Constant), (b"json_array", Pure),
    (b"json_array_append", Pure), (b"json_array_insert", Pure), (b"json_array_intersect", Pure),
    (b"json_arrayagg", Pure), (b"json_compact", Pure), (b"json_contains", Pure),
    (b"json_contains_path", Pure), (b"json_depth", Pure), (b"json_detailed", Pure),
    (b"json_duality_object", Pure), (b"json_equals", Pure), (b"json_exists", Pure),
    (b"json_extract", Pure), (b"json_insert", Pure), (b"json_key_value", Pure),
    (b"json_keys", Pure), (b"json_length", Pure), (b"json_loose", Pure), (b"json_merge", Pure),
    (b"json_merge_patch", Pure), (b"json_merge_preserve", Pure), (b"json_normalize", Pure),
    (b"json_object", Pure), (b"json_object_filter_keys", Pure), (b"json_object_to_array", Pure),
    (b"json_objectagg", Pure), (b"json_overlaps", Pure), (b"json_pretty", Pure),
    (b"json_query", Pure), (b"json_quote", Pure), (b"json_remove", Pure), (b"json_replace", Pure),
    (b"json_schema_valid", Pure), (b"json_schema_validation_report", Pure),
    (b"json_search", Pure), (b"json_set", Pure), (b"json_storage_free", Pure),
    (b"json_storage_size", Pure), (b"json_table", Pure), (b"json_type", Pure),
    (b"json_unquote", Pure), (b"json_valid", Pure), (b"json_value", Pure), (b"kdf", Pure),
    (b"lag", Pure), (b"last_day", Pure), (b"last_insert_id", LastInsertId), (b"last_value", Pure),
    (b"lastval", Sequence), (b"lcase", Constant), (b"lead", Pure), (b"least", Constant),
    (b"left", Constant), (b"length", Constant), (b"lengthb", Pure), (b"linefromtext", Pure),
    (b"linefromwkb", Pure), (b"linestring", Pure), (b"linestringfromtext", Pure),
    (b"linestringfromwkb", Pure), (b"ln", Pure), (b"load_file", ServerState),
    (b"localtime", Pure), (b"localtimestamp", Pure), (b"locate", Constant), (b"log", Pure),
    (b"log10", Pure), (b"log2", Pure), (b"lower", Constant), (b"lpad", Constant),
    (b"lpad_oracle", Pure), (b"ltrim", Constant), (b"ltrim_oracle", Pure), (b"make_set", Pure),
    (b"makedate", Pure), (b"maketime", Pure), (b"master_gtid_wait", Gtid),
    (b"master_pos_wait", Gtid), (b"match", Pure), (b"max", Pure), (b"mbrcontains", Pure),
    (b"mbrcoveredby", Pure), (b"mbrcovers", Pure), (b"mbrdisjoint", Pure), (b"mbrequal", Pure),
    (b"mbrequals", Pure), (b"mbrintersects", Pure), (b"mbroverlaps", Pure), (b"mbrtouches", Pure),
    (b"mbrwithin", Pure), (b"md5", Pure), (b"median", Pure), (b"microsecond", Pure),
    (b"mid", Pure), (b"min", Pure), (b"minute", Pure), (b"mlinefromtext", Pure),
    (b"mlinefromwkb", Pure), (b"mod", Constant), (b"month", Pure), (b"monthname", Pure),
    (b"mpointfromtext", Pure), (b"mpointfromwkb", Pure), (b"mpolyfromtext", Pure),
    (b"mpolyfromwkb", Pure), (b"multilinestring", Pure), (b"multilinestringfromtext", Pure),
    (b"multilinestringfromwkb", Pure), (b"multipoint", Pure), (b"multipointfromtext", Pure),
    (b"multipointfromwkb", Pure), (b"multipolygon", Pure), (b"multipolygonfromtext", Pure),
    (b"multipolygonfromwkb", Pure), (b"name_const", Pure), (b"natural_sort_key", Pure),
    (b"nextval", Sequence), (b"now", Pure), (b"nth_value", Pure), (b"ntile", Pure),
    (b"nullif", Constant), (b"nvl", Constant), (b"nvl2", Pure), (b"oct", Pure),
    (b"octet_length", Pure), (b"old_password", Pure), (b"ord", Pure), (b"password", Pure),
    (b"percent_rank", Pure), (b"percentile_cont", Pure), (b"percentile_disc", Pure),
    (b"period_add", Pure), (b"period_diff", Pure), (b"pi", Pure), (b"point", Pure),
    (b"pointfromtext", Pure), (b"pointfromwkb", Pure), (b"polyfromtext", Pure),
    (b"polyfromwkb", Pure), (b"polygon", Pure), (b"polygonfromtext", Pure),
    (b"polygonfromwkb", Pure), (b"position", Pure), (b"pow", Pure), (b"power", Pure),
    (b"ps_current_thread_id", ServerState), (b"ps_thread_id", ServerState), (b"quarter", Pure),
    (b"quote", Pure), (b"radians", Pure), (b"rand", Pure), (b"random_bytes", Pure),
    (b"rank", Pure), (b"regexp_instr", Pure), (b"regexp_like", Pure),
    (b"regexp_replace", Constant), (b"regexp_substr", Pure),
    (b"release_all_locks", ReleasesAllLocks), (b"release_lock", ReleasesLock),
    (b"repeat", Constant), (b"replace", Constant), (b"replace_oracle", Pure), (b"reverse", Pure),
    (b"right", Constant), (b"roles_graphml", ServerState), (b"round", Constant), (b"row", Pure),
    (b"row_count", Diagnostics), (b"row_number", Pure), (b"rpad", Constant),
    (b"rpad_oracle", Pure), (b"rtrim", Constant), (b"rtrim_oracle", Pure), (b"schema", Pure),
    (b"sec_to_time", Pure), (b"second", Pure), (b"session_user", Pure), (b"setval", Sequence),
    (b"sformat", Pure), (b"sha", Pure), (b"sha1", Pure), (b"sha2", Pure), (b"sign", Pure),
    (b"sin", Pure), (b"sleep", Pure), (b"soundex", Pure), (b"source_pos_wait", Gtid),
    (b"space", Pure), (b"sqrt", Pure), (b"st_area", Pure), (b"st_asbinary", Pure),
    (b"st_asgeojson", Pure), (b"st_astext", Pure), (b"st_aswkb", Pure), (b"st_aswkt", Pure),
    (b"st_boundary", Pure), (b"st_buffer", Pure), (b"st_buffer_strategy", Pure),
    (b"st_centroid", Pure), (b"st_collect", Pure), (b"st_contains", Pure),
    (b"st_convexhull", Pure), (b"st_crosses", Pure), (b"st_difference", Pure),
    (b"st_dimension", Pure), (b"st_disjoint", Pure), (b"st_distance", Pure),
    (b"st_distance_sphere", Pure), (b"st_endpoint", Pure), (b"st_envelope", Pure),
    (b"st_equals", Pure), (b"st_exteriorring", Pure), (b"st_frechetdistance", Pure),
    (b"st_geohash", Pure), (b"st_geomcollfromtext", Pure), (b"st_geomcollfromtxt", Pure),
    (b"st_geomcollfromwkb", Pure), (b"st_geometrycollectionfromtext", Pure),
    (b"st_geometrycollectionfromwkb", Pure), (b"st_geometryfromtext", Pure),
    (b"st_geometryfromwkb", Pure), (b"st_geometryn", Pure), (b"st_geometrytype", Pure),
    (b"st_geomfromgeojson", Pure), (b"st_geomfromtext", Pure), (b"st_geomfromwkb", Pure),
    (b"st_hausdorffdistance", Pure), (b"st_interiorringn", Pure), (b"st_intersection", Pure),
    (b"st_intersects", Pure), (b"st_isclosed", Pure), (b"st_isempty", Pure), (b"st_isring", Pure),
    (b"st_issimple", Pure), (b"st_isvalid", Pure), (b"st_latfromgeohash", Pure),
    (b"st_latitude", Pure), (b"st_length", Pure), (b"st_linefromtext", Pure),
    (b"st_linefromwkb", Pure), (b"st_lineinterpolatepoint", Pure),
    (b"st_lineinterpolatepoints", Pure), (b"st_linestringfromtext", Pure),
    (b"st_linestringfromwkb", Pure), (b"st_longfromgeohash", Pure), (b"st_longitude", Pure),
    (b"st_makeenvelope", Pure), (b"st_mlinefromtext", Pure), (b"st_mlinefromwkb", Pure),
    (b"st_mpointfromtext", Pure), (b"st_mpointfromwkb", Pure), (b"st_mpolyfromtext", Pure),
    (b"st_mpolyfromwkb", Pure), (b"st_multilinestringfromtext", Pure),
    (b"st_multilinestringfromwkb", Pure), (b"st_multipointfromtext", Pure),
    (b"st_multipointfromwkb", Pure), (b"st_multipolygonfromtext", Pure),
    (b"st_multipolygonfromwkb", Pure), (b"st_numgeometries", Pure), (b"st_numinteriorring", Pure),
    (b"st_numinteriorrings", Pure), (b"st_numpoints", Pure), (b"st_overlaps", Pure),
    (b"st_pointatdistance", Pure), (b"st_pointfromgeohash", Pure), (b"st_pointfromtext", Pure),
    (b"st_pointfromwkb", Pure), (b"st_pointn", Pure), (b"st_pointonsurface", Pure),
    (b"st_polyfromtext", Pure), (b"st_polyfromwkb", Pure), (b"st_polygonfromtext", Pure),
    (b"st_polygonfromwkb", Pure), (b"st_relate", Pure), (b"st_simplify", Pure),
    (b"st_srid", Pure), (b"st_startpoint", Pure), (b"st_swapxy", Pure),
    (b"st_symdifference", Pure), (b"st_touches", Pure), (b"st_transform", Pure),
    (b"st_union", Pure), (b"st_validate", Pure), (b"st_within", Pure), (b"st_x", Pure),
    (b"st_y", Pure), (b"statement_digest", Pure), (b"statement_digest_text", Pure),
    (b"std", Pure), (b"stddev", Pure), (b"stddev_pop", Pure), (b"stddev_samp", Pure),
    (b"str_to_date", Pure), (b"strcmp", Pure), (b"string_to_vector", Pure), (b"subdate", Pure),
    (b"substr", Constant), (b"substr_oracle", Pure), (b"substring", Constant),
    (b"substring_index", Constant), (b"subtime", Pure), (b"sum", Pure), (b"sys_guid", Pure),
    (b"sysdate", Pure), (b"system_user", Pure), (b"tan", Pure), (b"time", Pure),
    (b"time_format", Pure), (b"time_to_sec", Pure), (b"timediff", Pure), (b"timestamp", Pure),
    (b"timestampadd", Pure), (b"timestampdiff", Pure), (b"to_base64", Pure), (b"to_char", Pure),
    (b"to_days", Pure), (b"to_seconds", Pure), (b"to_vector", Pure), (b"trim", Constant),
    (b"trim_oracle", Pure), (b"truncate", Constant), (b"ucase", Constant), (b"uncompress", Pure),
    (b"uncompressed_length", Pure), (b"unhex", Constant), (b"unix_timestamp", Pure),
    (b"updatexml", Pure), (b"upper", Constant), (b"user", Pure), (b"utc_date", Pure),
    (b"utc_time", Pure), (b"utc_timestamp", Pure), (b"uuid", Pure), (b"uuid_short", Pure),
    (b"uuid_to_bin", Pure), (b"uuid_v4", Pure), (b"uuid_v7", Pure),
    (b"validate_password_strength", Pure), (b"value", Pure), (b"values", Pure),
    (b"var_pop", Pure), (b"var_samp", Pure), (b"variance", Pure), (b"vec_distance", Pure),
    (b"vec_distance_cosine", Pure), (b"vec_distance_euclidean", Pure), (b"vec_fromtext", Pure),
    (b"vec_totext", Pure), (b"vector_dim", Pure), (b"vector_distance", Pure),
    (b"vector_to_string", Pure), (b"version", Pure), (b"wait_for_executed_gtid_set", Gtid),
    (b"wait_until_sql_thread_after_gtids", Gtid), (b"week", Pure), (b"weekday", Pure),
    (b"weekofyear", Pure), (b"weight_string", Pure), (b"wsrep_last_seen_gtid", Gtid),
    (b"wsrep_last_written_gtid", Gtid), (b"wsrep_sync_wait_upto_gtid", Gtid), (b"year", Pure),
    (b"yearweek", Pure),
];

/// Not built into MySQL 8.4 and 9. (`MD5()` and `SHA1()`, which 9.6 has made a component, are not here:
/// nobody has others of that name.)
#[rustfmt::skip]
const ONLY_MARIADB: &[&[u8]] = &[
    b"add_months", b"binlog_gtid_pos", b"chr", b"column_add", b"column_check", b"column_create",
    b"column_delete", b"column_exists", b"column_get", b"column_json", b"column_list",
    b"concat_operator_oracle", b"crc32c", b"decode", b"decode_histogram", b"decode_oracle",
    b"des_decrypt", b"des_encrypt", b"encode", b"encrypt", b"geomcollfromtext", b"geomcollfromwkb",
    b"geometrycollectionfromtext", b"geometrycollectionfromwkb", b"geometryfromtext",
    b"geometryfromwkb", b"geomfromtext", b"geomfromwkb", b"json_array_intersect", b"json_compact",
    b"json_detailed", b"json_equals", b"json_exists", b"json_key_value", b"json_loose",
    b"json_normalize", b"json_object_filter_keys", b"json_object_to_array", b"json_query", b"kdf",
    b"lastval", b"lengthb", b"linefromtext", b"linefromwkb", b"linestringfromtext",
    b"linestringfromwkb", b"lpad_oracle", b"ltrim_oracle", b"master_gtid_wait", b"mbrequal",
    b"median", b"mlinefromtext", b"mlinefromwkb", b"mpointfromtext", b"mpointfromwkb",
    b"mpolyfromtext", b"mpolyfromwkb", b"multilinestringfromtext", b"multilinestringfromwkb",
    b"multipointfromtext", b"multipointfromwkb", b"multipolygonfromtext", b"multipolygonfromwkb",
    b"natural_sort_key", b"nextval", b"nvl", b"nvl2", b"old_password", b"password",
    b"percentile_cont", b"percentile_disc", b"pointfromtext", b"pointfromwkb", b"polyfromtext",
    b"polyfromwkb", b"polygonfromtext", b"polygonfromwkb", b"replace_oracle", b"rpad_oracle",
    b"rtrim_oracle", b"setval", b"sformat", b"st_boundary", b"st_isring", b"st_pointonsurface",
    b"st_relate", b"substr_oracle", b"sys_guid", b"to_char", b"trim_oracle", b"uuid_v4", b"uuid_v7",
    b"vec_distance", b"vec_distance_cosine", b"vec_distance_euclidean", b"vec_fromtext",
    b"vec_totext", b"wsrep_last_seen_gtid", b"wsrep_last_written_gtid",
    b"wsrep_sync_wait_upto_gtid",
];

/// Not built into MariaDB 10.6 to 11.
#[rustfmt::skip]
const ONLY_MYSQL: &[&[u8]] = &[
    b"any_value", b"bin_to_uuid", b"format_pico_time", b"from_vector", b"geomcollection",
    b"grouping", b"gtid_subset", b"gtid_subtract", b"icu_version", b"is_uuid",
    b"json_duality_object", b"json_schema_validation_report", b"json_storage_free",
    b"json_storage_size", b"mbrcoveredby", b"mbrcovers", b"ps_current_thread_id", b"ps_thread_id",
    b"regexp_like", b"roles_graphml", b"source_pos_wait", b"st_buffer_strategy",
    b"st_frechetdistance", b"st_geomcollfromtxt", b"st_hausdorffdistance", b"st_latitude",
    b"st_lineinterpolatepoint", b"st_lineinterpolatepoints", b"st_longitude", b"st_makeenvelope",
    b"st_numinteriorring", b"st_pointatdistance", b"st_swapxy", b"st_transform",
    b"statement_digest", b"statement_digest_text", b"string_to_vector", b"to_vector",
    b"uuid_to_bin", b"validate_password_strength", b"vector_dim", b"vector_distance",
    b"vector_to_string", b"wait_for_executed_gtid_set", b"wait_until_sql_thread_after_gtids",
];

/// Built in only where the parenthesis follows at once.
#[rustfmt::skip]
const TOUCHING: &[&[u8]] = &[
    b"adddate", b"bit_and", b"bit_or", b"bit_xor", b"cast", b"count", b"curdate", b"curtime",
    b"date_add", b"date_sub", b"extract", b"group_concat", b"json_arrayagg", b"json_objectagg",
    b"max", b"mid", b"min", b"now", b"position", b"session_user", b"std", b"stddev", b"stddev_pop",
    b"stddev_samp", b"subdate", b"substr", b"substring", b"sum", b"system_user", b"trim",
    b"var_pop", b"var_samp", b"variance",
];

/// The same, on MySQL alone.
#[rustfmt::skip]
const TOUCHING_MYSQL: &[&[u8]] = &[
    b"json_duality_object", b"st_collect", b"sysdate",
];

/// The same, on MariaDB alone.
#[rustfmt::skip]
const TOUCHING_MARIADB: &[&[u8]] = &[
    b"cume_dist", b"dense_rank", b"first_value", b"lag", b"lead", b"median", b"nth_value", b"ntile",
    b"percent_rank", b"percentile_cont", b"percentile_disc", b"rank", b"row_number", b"trim_oracle",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &[u8]) -> Option<Function> {
        lookup(name, Product::Unknown, false)
    }

    #[test]
    fn the_table_is_sorted_and_in_small_letters() {
        assert!(FUNCTIONS.is_sorted_by(|(a, _), (b, _)| a < b));
        for (name, function) in FUNCTIONS {
            assert_eq!(name.to_ascii_lowercase(), *name);
            assert_eq!(found(name), Some(*function));
            assert_eq!(found(&name.to_ascii_uppercase()), Some(*function));
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_not_found() {
        for name in [
            "",
            "a",
            "~",
            "now_",
            "no",
            "zzz",
            "\u{e9}t\u{e9}",
            "charge_card",
            "_now",
        ] {
            assert_eq!(found(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn each_product_has_functions_that_the_other_has_not() {
        let on = |name: &str| {
            let all = [Product::Unknown, Product::MySql, Product::MariaDb];
            all.map(|product| lookup(name.as_bytes(), product, false).is_some())
        };
        assert_eq!(on("NOW"), [true, true, true]);
        for name in [
            "uuid_to_bin",
            "any_value",
            "REGEXP_LIKE",
            "is_uuid",
            "grouping",
        ] {
            assert_eq!(on(name), [true, true, false], "{name}");
        }
        for name in ["nvl", "to_char", "DECODE", "sys_guid", "password", "median"] {
            assert_eq!(on(name), [true, false, true], "{name}");
        }
    }

    #[test]
    fn some_names_are_built_in_only_where_the_parenthesis_touches_them() {
        let apart = |name: &str, product| lookup(name.as_bytes(), product, true).is_some();
        for product in [Product::Unknown, Product::MySql, Product::MariaDb] {
            for name in ["count", "SUM", "now", "max", "substring", "trim", "cast"] {
                assert!(!apart(name, product), "{name}");
                assert!(lookup(name.as_bytes(), product, false).is_some(), "{name}");
            }
            for name in ["abs", "IF", "coalesce", "concat", "left", "json_extract"] {
                assert!(apart(name, product), "{name}");
            }
        }
        assert!(apart("rank", Product::MySql) && !apart("rank", Product::MariaDb));
    }

    #[test]
    fn what_changes_or_tells_of_one_server_is_not_pure() {
        for name in [
            "get_lock",
            "release_lock",
            "nextval",
            "setval",
            "lastval",
            "last_insert_id",
            "connection_id",
            "row_count",
            "found_rows",
            "load_file",
            "master_pos_wait",
        ] {
            let function = found(name.as_bytes());
            assert!(!matches!(function, None | Some(Pure | Constant)), "{name}");
        }
    }
}

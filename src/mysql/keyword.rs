//! The words that mean something in the middle of a statement.

/// What a word means to the pass over a statement. Verbs that begin a statement are not here: they
/// are looked at once, where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    /// A name, or a word that changes nothing.
    Other,
    /// A word that a parenthesis can follow without being called, on any server: most are reserved,
    /// and no server lets a function be called by the others without quotes.
    Structure,
    /// `ANY` and `SOME`: a subquery follows when an operator stands before them.
    Any,
    /// `AS`: a name follows.
    As,
    /// `CONNECTION`
    Connection,
    /// `FOR`
    For,
    /// `INSERT` and `REPLACE`: statements, and functions before a parenthesis.
    InsertOrReplace,
    /// `INTO`
    Into,
    /// `LOCK`
    Lock,
    /// `MEMBER`
    Member,
    /// `NEXT` and `PREVIOUS`
    Next,
    /// `NEXTVAL`, `CURRVAL`, `LASTVAL`: sequences in Oracle's spelling
    Nextval,
    /// `NO`
    No,
    /// `OF`
    Of,
    /// `PROCEDURE`
    Procedure,
    /// `SHARE`
    Share,
    /// `UPDATE` and `DELETE`
    UpdateOrDelete,
    /// `VALUE`
    Value,
    /// `RECURSIVE`
    Recursive,
    /// `WITH`: the name of a common table expression may follow.
    With,
}

impl Keyword {
    /// Of an unquoted word, in any case.
    #[inline]
    pub(super) fn of(word: &[u8]) -> Self {
        let mut folded = [0; LONGEST];
        let Some(folded) = folded.get_mut(..word.len()) else {
            return Self::Other;
        };
        for (to, from) in folded.iter_mut().zip(word) {
            *to = from.to_ascii_lowercase();
        }
        match &*folded {
            b"all" | b"and" | b"between" | b"bigint" | b"bit" | b"by" | b"case" | b"datetime"
            | b"dec" | b"decimal" | b"distinct" | b"distinctrow" | b"div" | b"double" | b"else"
            | b"except" | b"exists" | b"float" | b"from" | b"group" | b"having"
            | b"high_priority" | b"in" | b"index" | b"int" | b"integer" | b"intersect"
            | b"join" | b"key" | b"lateral" | b"like" | b"limit" | b"mediumint" | b"nchar"
            | b"not" | b"numeric" | b"nvarchar" | b"on" | b"or" | b"over" | b"partition"
            | b"real" | b"regexp" | b"rlike" | b"select" | b"smallint" | b"straight_join"
            | b"table" | b"text" | b"then" | b"tinyint" | b"union" | b"using" | b"varbinary"
            | b"varchar" | b"when" | b"where" | b"xor" => Self::Structure,
            b"sql_big_result" | b"sql_calc_found_rows" | b"sql_small_result" => Self::Structure,
            b"any" | b"some" => Self::Any,
            b"as" => Self::As,
            b"connection" => Self::Connection,
            b"currval" | b"lastval" | b"nextval" => Self::Nextval,
            b"delete" | b"update" => Self::UpdateOrDelete,
            b"for" => Self::For,
            b"insert" | b"replace" => Self::InsertOrReplace,
            b"into" => Self::Into,
            b"lock" => Self::Lock,
            b"member" => Self::Member,
            b"next" | b"previous" => Self::Next,
            b"no" => Self::No,
            b"of" => Self::Of,
            b"procedure" => Self::Procedure,
            b"recursive" => Self::Recursive,
            b"with" => Self::With,
            b"share" => Self::Share,
            b"value" => Self::Value,
            _ => Self::Other,
        }
    }

    /// Whether a statement with this word may need the primary.
    pub(super) const fn decides(self) -> bool {
        match self {
            Self::For
            | Self::InsertOrReplace
            | Self::Into
            | Self::Lock
            | Self::Next
            | Self::Nextval
            | Self::Procedure
            | Self::Share
            | Self::UpdateOrDelete
            | Self::Value => true,
            Self::Any
            | Self::As
            | Self::Connection
            | Self::Member
            | Self::No
            | Self::Of
            | Self::Other
            | Self::Recursive
            | Self::Structure
            | Self::With => false,
        }
    }

    /// Of a word in which bytes from 0x80 may be spaces, depending on the character set: the first
    /// deciding keyword among what they would leave.
    pub(super) fn hidden_in(word: &[u8]) -> Self {
        let pieces = word.split(|&byte| byte >= 0x80).map(Self::of);
        let mut deciding = pieces.filter(|&keyword| keyword.decides());
        deciding.next().unwrap_or(Self::Other)
    }
}

/// Bytes of the longest word that means something.
const LONGEST: usize = b"sql_calc_found_rows".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_only_whole() {
        assert_eq!(Keyword::of(b"FoR"), Keyword::For);
        assert_eq!(Keyword::of(b"STRAIGHT_JOIN"), Keyword::Structure);
        for word in [
            "",
            "fo",
            "fore",
            "updates",
            "straight_joins",
            "a_much_longer_word_than_any",
        ] {
            assert_eq!(Keyword::of(word.as_bytes()), Keyword::Other, "{word}");
        }
    }

    #[test]
    fn a_byte_that_may_be_a_space_hides_no_keyword() {
        assert_eq!(Keyword::hidden_in(b"t\xa0FOR\xa0x"), Keyword::For);
        assert_eq!(
            Keyword::hidden_in("\u{e9}t\u{e9}".as_bytes()),
            Keyword::Other
        );
    }
}

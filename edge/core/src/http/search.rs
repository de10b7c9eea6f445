//! G-07: messages of the caller's conversations by what they say. The index finds them, the Rooms show them: what a hit
//! looks like, and whether the caller may see it, is theirs to say.

use serde::Serialize;
use wire::{Message as WireMessage, RoomId, Timestamp, UserId};

use super::input;
use super::messages::name_senders;
use super::reply::Reply;
use super::{Call, Request, unexpected};
use crate::error::Failure;
use crate::limits::{
    HEADS_LATE_MS, QUESTION_CHARS, SEARCH_CANDIDATES, SEARCH_GROUPS, SEARCH_HITS, SEARCH_HITS_MAX, SEARCH_READ, SEARCH_ROOMS,
    SEARCHES_PER_USER,
};
use crate::objects::{self, Message};
use crate::platform::Platform;
use crate::search::{any_of, expression, fold, snippet};
use crate::sql::search::{self as sql, Part, Wanted};
use crate::sql::{Row, Rows};

/// Messages with the whole question in them come first, then those with all of its words; each newest first.
pub(super) async fn messages<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let question = Question::read(call.request)?;
    call.charge(&[call.bucket("search", &me.user.to_string(), SEARCHES_PER_USER)]).await?;
    // No message has one, and the full text would end there.
    if question.phrase.contains('\0') {
        return Ok(Reply::json(200, &Answer { hits: Vec::new(), cursor: None }));
    }
    if question.cursor.is_none() {
        wake_forgotten(call, me.user).await?;
    }

    let extent = Extent::read(call.read(sql::extent(me.user, question.filters.room)).await?).ok_or_else(unexpected)?;
    // One more than asked for tells whether there is another page.
    let mut found = Vec::new();
    for rank in question.cursor.map_or(0, |cursor| cursor.rank)..question.ranks() {
        let missing = question.limit + 1 - found.len() as u64;
        if missing > 0 {
            let rows = find(call, me.user, &question, rank, missing, extent).await?;
            for row in &rows {
                found.push(Found::read(row, rank).ok_or_else(unexpected)?);
            }
        }
    }
    let more = found.len() as u64 > question.limit;
    found.truncate(usize::try_from(question.limit).unwrap_or(usize::MAX));
    let cursor = found.last().filter(|_| more).map(|last| last.cursor.write());

    let shown = look(call, me.user, &found).await?;
    let needles = question.needles();
    let mut hits = Vec::new();
    for hit in &found {
        let shows = |message: &&WireMessage| message.seq == hit.seq && message.conversation_id == hit.room;
        // The index may be a second behind: what does not say it any more is no hit.
        if let Some(message) = shown.iter().find(shows)
            && let Some(snippet) = snippet(&message.content, &needles)
        {
            hits.push(Hit { message, snippet, conversation: Place { id: hit.room, name: hit.name.as_deref() } });
        }
    }
    Ok(Reply::json(200, &Answer { hits, cursor }))
}

#[derive(Serialize)]
struct Answer<'a> {
    hits: Vec<Hit<'a>>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Hit<'a> {
    message: &'a WireMessage,
    snippet: String,
    conversation: Place<'a>,
}

#[derive(Serialize)]
struct Place<'a> {
    id: RoomId,
    name: Option<&'a str>,
}

/// Rooms whose messages did not reach the index before a crash learn it when they are loaded.
async fn wake_forgotten<P: Platform>(call: &Call<'_, P>, user: UserId) -> Result<(), Failure> {
    for row in call.read(sql::behind(user, call.now)).await? {
        if let Some(room) = row.first().and_then(|id| RoomId::parse(id.as_str()?)) {
            // Whether it worked is seen by the next search.
            let _ = call.ask(&objects::room(room), Message::Describe { user }).await;
        }
    }
    Ok(())
}

/// What the caller has.
#[derive(Debug, Clone, Copy)]
struct Extent {
    rooms: u64,
    messages: u64,
}

impl Extent {
    fn read(rows: Rows) -> Option<Self> {
        let row = rows.first()?;
        Some(Self { rooms: row.first()?.as_u64()?, messages: row.get(1)?.as_u64()? })
    }
}

async fn find<P: Platform>(
    call: &Call<'_, P>,
    user: UserId,
    question: &Question,
    rank: u8,
    limit: u64,
    extent: Extent,
) -> Result<Rows, Failure> {
    let (wanted, texts) = question.wanted(rank);
    if extent.messages > SEARCH_READ {
        let mut narrowed = expression(&texts);
        if narrowed.is_none() {
            narrowed = expression_of_two(call, &texts).await?;
        }
        if let Some(expression) = narrowed {
            let rows = call.read(sql::candidates(&expression)).await?;
            let number = rows.first().and_then(|row| row.first()?.as_u64()).ok_or_else(unexpected)?;
            if number <= SEARCH_CANDIDATES {
                return call.read(sql::found(user, &wanted, limit, expression)).await;
            }
        }
    }
    let mut part = Part::All;
    if extent.rooms > SEARCH_ROOMS {
        let newest = call.read(sql::read_through(user, &wanted, limit, Part::Newest(SEARCH_ROOMS))).await?;
        if newest.len() as u64 == limit
            && let Some(at) = newest.last().and_then(|row| row.get(2)?.as_u64())
        {
            // Where nothing came since, nothing comes before these.
            part = Part::Since(Timestamp(at.saturating_sub(HEADS_LATE_MS)));
        }
    }
    call.read(sql::read_through(user, &wanted, limit, part)).await
}

/// As [`expression`], for texts of two characters: whatever begins with them in any message.
async fn expression_of_two<P: Platform>(call: &Call<'_, P>, texts: &[String]) -> Result<Option<String>, Failure> {
    let Some(two) = texts.iter().find(|text| text.chars().count() == 2) else { return Ok(None) };
    let rows = call.read(sql::groups(two)).await?;
    let groups = rows.iter().filter_map(|row| row.first()?.as_str());
    Ok((rows.len() as u64 <= SEARCH_GROUPS).then(|| any_of(groups)))
}

/// The messages as their Rooms show them; those that the caller may not see (any more) are missing.
async fn look<P: Platform>(call: &Call<'_, P>, user: UserId, found: &[Found]) -> Result<Vec<WireMessage>, Failure> {
    let mut all = Vec::new();
    for (at, hit) in found.iter().enumerate() {
        if found.iter().take(at).any(|earlier| earlier.room == hit.room) {
            continue;
        }
        let seqs = found.iter().filter(|other| other.room == hit.room).map(|other| other.seq).collect();
        match call.ask(&objects::room(hit.room), Message::Look { user, seqs }).await {
            Ok(Message::HistoryPage { messages, .. }) => all.extend(messages),
            Err(failure) if failure.code == wire::ErrorCode::NotFound => {}
            Ok(_) => return Err(unexpected()),
            Err(failure) => return Err(failure),
        }
    }
    name_senders(call, user, &mut all).await?;
    Ok(all)
}

/// A row of the index.
struct Found {
    room: RoomId,
    seq: u64,
    name: Option<String>,
    cursor: Cursor,
}

impl Found {
    fn read(row: &Row, rank: u8) -> Option<Self> {
        let [room, seq, at, id, name] = row.as_slice() else { return None };
        Some(Self {
            room: RoomId::parse(room.as_str()?)?,
            seq: seq.as_u64()?,
            name: name.as_str().map(str::to_owned),
            cursor: Cursor { rank, at: at.as_u64()?, id: id.as_u64()? },
        })
    }
}

/// The last hit of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    rank: u8,
    at: u64,
    id: u64,
}

impl Cursor {
    fn write(self) -> String {
        format!("{}-{}-{}", self.rank, self.at, self.id)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(|part| part.parse::<u64>().ok().filter(|_| !part.starts_with('+')));
        let (rank, at, id) = (parts.next()??, parts.next()??, parts.next()??);
        (rank < 2 && parts.next().is_none()).then_some(Self { rank: u8::from(rank == 1), at, id })
    }
}

/// What the caller asks for.
#[derive(Debug)]
struct Question {
    /// The whole question, folded.
    phrase: String,
    /// Its words, folded.
    words: Vec<String>,
    filters: Wanted,
    limit: u64,
    cursor: Option<Cursor>,
}

impl Question {
    fn read(request: &Request) -> Result<Self, Failure> {
        let text = input::query(request, "q")?.unwrap_or_default();
        let phrase = fold(text.trim());
        let length = phrase.chars().count();
        if !QUESTION_CHARS.contains(&length) {
            return Err(Failure::invalid("q", "2 to 200 characters are expected"));
        }
        if input::only_wildcards(&phrase) {
            return Err(Failure::invalid("q", "More than wildcards is expected"));
        }
        let words: Vec<String> = phrase.split_whitespace().map(str::to_owned).collect();

        let time = |name: &str| {
            let read = |text: String| Timestamp::from_iso(&text).ok_or_else(|| Failure::invalid(name, "A time is expected"));
            input::query(request, name)?.map(read).transpose()
        };
        let mut filters = Wanted { before: time("before")?, after: time("after")?, ..Wanted::default() };
        if let Some(id) = input::query(request, "conversationId")? {
            filters.room = Some(RoomId::parse(&id).ok_or_else(|| Failure::invalid("conversationId", "A conversation id is expected"))?);
        }
        if let Some(id) = input::query(request, "from")? {
            filters.from = Some(UserId::parse(&id).ok_or_else(|| Failure::invalid("from", "A user id is expected"))?);
        }
        if let Some(has) = input::query(request, "has")? {
            filters.kind = ["image", "file", "voice"].into_iter().find(|kind| *kind == has);
            filters.link = has == "link";
            if filters.kind.is_none() && !filters.link {
                return Err(Failure::invalid("has", "One of image, file, voice, link is expected"));
            }
        }
        let limit = input::limit(request, SEARCH_HITS, SEARCH_HITS_MAX)?;
        let read = |text: String| Cursor::parse(&text).ok_or_else(|| Failure::invalid("cursor", "A cursor of an earlier answer is expected"));
        let cursor = input::query(request, "cursor")?.map(read).transpose()?;
        Ok(Self { phrase, words, filters, limit, cursor })
    }

    /// One word is its own phrase.
    fn ranks(&self) -> u8 {
        if self.words.len() > 1 { 2 } else { 1 }
    }

    /// What a message of this rank has, and the texts that narrow it down.
    fn wanted(&self, rank: u8) -> (Wanted, Vec<String>) {
        let mut wanted = self.filters.clone();
        wanted.behind = self.cursor.filter(|cursor| cursor.rank == rank).map(|cursor| (cursor.at, cursor.id));
        if rank == 0 {
            wanted.text.clone_from(&self.phrase);
            return (wanted, vec![self.phrase.clone()]);
        }
        wanted.text = self.words.iter().max_by_key(|word| word.len()).cloned().unwrap_or_default();
        wanted.texts = serde_json::to_string(&self.words).ok();
        wanted.without = Some(self.phrase.clone());
        (wanted, self.words.clone())
    }

    /// What is marked in a hit.
    fn needles(&self) -> Vec<String> {
        std::iter::once(&self.phrase).chain(&self.words).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(query: &str) -> Result<Question, Option<String>> {
        let request = Request { query: query.to_owned(), ..Request::default() };
        Question::read(&request).map_err(|failure| failure.field)
    }

    #[test]
    fn a_question_is_a_phrase_and_its_words() {
        let one = question("q=+Hello").unwrap();
        assert_eq!((one.phrase.as_str(), one.ranks(), one.needles().len()), ("hello", 1, 2));
        let two = question("q=to%20the+%22Moon%22%20the&has=link&limit=999").unwrap();
        assert_eq!(two.phrase, "to the \"moon\" the");
        assert_eq!(two.words, ["to", "the", "\"moon\"", "the"]);
        assert_eq!((two.ranks(), two.limit, two.filters.link), (2, SEARCH_HITS_MAX, true));
        let (wanted, texts) = two.wanted(1);
        assert_eq!((wanted.text.as_str(), wanted.texts.as_deref()), ("\"moon\"", Some(r#"["to","the","\"moon\"","the"]"#)));
        assert_eq!(texts.len(), 4);
    }

    #[test]
    fn bad_parameters_are_named() {
        for (query, field) in [
            ("", "q"),
            ("q=", "q"),
            ("q=x", "q"),
            ("q=%20x%20", "q"),
            ("q=%25%25", "q"),
            ("q=_%20*", "q"),
            ("q=ab&conversationId=1%20OR%201", "conversationId"),
            ("q=ab&from=%25", "from"),
            ("q=ab&before=yesterday", "before"),
            ("q=ab&after=", "after"),
            ("q=ab&has=video", "has"),
            ("q=ab&limit=0", "limit"),
            ("q=ab&cursor=", "cursor"),
            ("q=ab&cursor=2-1-1", "cursor"),
            ("q=ab&cursor=0-1", "cursor"),
            ("q=ab&cursor=0-1-1-1", "cursor"),
            ("q=ab&cursor=0-%2B1-1", "cursor"),
        ] {
            assert_eq!(question(query).unwrap_err().as_deref(), Some(field), "{query}");
        }
        assert_eq!(question(&format!("q={}", "x".repeat(QUESTION_CHARS.end() + 1))).unwrap_err().as_deref(), Some("q"));
    }

    #[test]
    fn cursors_survive_the_round_trip() {
        let cursor = Cursor { rank: 1, at: 1_772_357_400_123, id: (7 << 32) + 9 };
        assert_eq!(Cursor::parse(&cursor.write()), Some(cursor));
    }
}

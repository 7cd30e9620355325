//! Validation of requests, by tables and properties.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn words<T>(result: Result<T, Refusal>) -> Vec<&'static str> {
    result.err().map_or(vec![], |refusal| refusal.words().iter().map(|word| word.as_str()).collect())
}

fn with(key: &str, value: Value) -> Bytes {
    let mut user = json!({"firstName": "Jane", "lastName": "Doe", "invitedUserEmailId": "jane@example.com",
        "password": "planted", "allotedComputers": 1, "sendEmailToUser": true});
    user[key] = value;
    user.to_string().into()
}

#[rstest::rstest]
#[case("firstName", "FIRSTNAME_REQUIRED")]
#[case("lastName", "LASTNAME_REQUIRED")]
#[case("invitedUserEmailId", "EMAILID_REQUIRED")]
#[case("password", "PASSWORD_REQUIRED")]
fn what_add_needs_has_a_word(#[case] key: &str, #[case] word: &str) {
    for missing in [json!(null), json!(""), json!(" \t\u{a0}\n")] {
        assert_eq!(words(AddUser::parse(with(key, missing))), [word]);
    }
    for wrong in [json!(7), json!(true), json!(["x"]), json!({"x": 1})] {
        assert_eq!(words(AddUser::parse(with(key, wrong))), ["INVALID_REQUEST"]);
    }
}

#[rstest::rstest]
#[case("allotedComputers", json!(-1))]
#[case("allotedComputers", json!(1.5))]
#[case("allotedComputers", json!(true))]
#[case("sendEmailToUser", json!("true"))]
#[case("sendEmailToUser", json!(1))]
fn optional_values_of_the_wrong_type(#[case] key: &str, #[case] value: Value) {
    assert_eq!(words(AddUser::parse(with(key, value))), ["INVALID_REQUEST"]);
}

#[rstest::rstest]
#[case("allotedComputers", json!(null))]
#[case("allotedComputers", json!(0))]
#[case("allotedComputers", json!("1"))]
#[case("allotedComputers", json!(1.0))]
#[case("sendEmailToUser", json!(null))]
#[case("firstName", json!("\u{8a9e} <b>"))]
#[case("password", json!("x"))]
#[case("whatComesNext", json!({"deep": [1, 2.50, null]}))]
fn what_the_document_does_not_forbid_passes(#[case] key: &str, #[case] value: Value) {
    let body = with(key, value);
    assert_eq!(AddUser::parse(body.clone()).unwrap().body().bytes(), body);
}

#[test]
fn several_faults_come_in_the_documents_order() {
    let body = r#"{"invitedUserEmailId":"jane","allotedComputers":-1}"#;
    assert_eq!(
        words(AddUser::parse(body.into())),
        [
            "FIRSTNAME_REQUIRED",
            "LASTNAME_REQUIRED",
            "ENTER_VALID_EMAIL",
            "PASSWORD_REQUIRED",
            "INVALID_REQUEST"
        ]
    );
    assert_eq!(words(SignIn::parse("{}".into())), ["USERNAME_REQUIRED", "PASSWORD_REQUIRED"]);
    let body = r#"[{"invitedUserEmailId":"a@example.com"},{},{"invitedUserEmailId":"b"},7,{"invitedUserEmailId":null}]"#;
    assert_eq!(
        words(InviteUsers::parse(body.into())),
        ["EMAILID_REQUIRED", "ENTER_VALID_EMAIL", "INVALID_REQUEST", "EMAILID_REQUIRED"]
    );
}

#[rstest::rstest]
fn what_is_not_one_object_is_no_request(
    #[values(
        "",
        " ",
        "nul",
        "null",
        "7",
        "\"x\"",
        "[]",
        "{",
        "{} {}",
        "{,}",
        "\u{feff}{}",
        r#"{"password":"a","password":"b"}"#,
        r#"{"password":"a","pass\u0077ord":"b"}"#
    )]
    body: &'static str,
) {
    assert_eq!(words(AddUser::parse(body.into())), ["INVALID_REQUEST"]);
    assert_eq!(words(SignIn::parse(body.into())), ["INVALID_REQUEST"]);
}

#[rstest::rstest]
fn an_invitation_is_a_list_with_somebody_in_it(
    #[values("", "[]", "{}", "null", "[null]", "[[]]", "[{}", r#"[{"x":1,"x":2}]"#)] body: &'static str,
) {
    assert_eq!(words(InviteUsers::parse(body.into())), ["INVALID_REQUEST"]);
}

#[test]
fn bytes_that_are_no_text_are_no_request() {
    let body = Bytes::from_static(b"{\"username\":\"\xff\",\"password\":\"x\"}");
    assert_eq!(words(SignIn::parse(body)), ["INVALID_REQUEST"]);
    let body = Bytes::from_static(b"{\"username\":\"x\",\"password\":\"x\",\"more\":\"\xff\"}");
    assert_eq!(words(SignIn::parse(body)), ["INVALID_REQUEST"]);
}

#[test]
fn what_is_made_from_parts_is_judged_and_read_back_the_same() {
    let user = NewUser {
        first_name: "Jane".to_owned(),
        last_name: "Doe".to_owned(),
        email: "jane@example.com".to_owned(),
        password: "planted".into(),
        computers: Some(2),
        send_email: None,
    };
    let add = AddUser::try_from(&user).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&add.body().bytes()).unwrap(),
        json!({"firstName": "Jane", "lastName": "Doe", "invitedUserEmailId": "jane@example.com",
            "password": "planted", "allotedComputers": 2})
    );
    assert_eq!((add.user().computers, add.user().send_email), (Some(2), None));
    assert_eq!(
        words(AddUser::try_from(&NewUser { email: "jane".to_owned(), ..user })),
        ["ENTER_VALID_EMAIL"]
    );

    let invitations = [Invitation { email: "jane@example.com".to_owned(), computers: None }];
    let invite = InviteUsers::try_from(&invitations[..]).unwrap();
    assert!(invite.invitations() == invitations);
    assert_eq!(invite.body().bytes(), r#"[{"invitedUserEmailId":"jane@example.com"}]"#);

    let sign_in = SignIn::new("jane", &"planted".into()).unwrap();
    assert_eq!(sign_in.username(), "jane");
    assert!(!format!("{add:?} {:?} {invite:?} {sign_in:?} {:?}", add.user(), add.body()).contains("planted"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        FIRST_NAME, LAST_NAME, EMAIL, PASSWORD, COMPUTERS, SEND_EMAIL, USERNAME, "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a@. -]{0,8}".prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..8)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn every_json_passes_whole_or_is_refused_with_words(value in any_json()) {
        let body = Bytes::from(value.to_string());
        for (forwarded, words) in [
            (AddUser::parse(body.clone()).map(|r| r.body().bytes()), 1..7),
            (InviteUsers::parse(body.clone()).map(|r| r.body().bytes()), 1..13),
            (SignIn::parse(body.clone()).map(|r| r.body().bytes()), 1..3),
        ] {
            match forwarded {
                Ok(forwarded) => prop_assert_eq!(&forwarded, &body),
                Err(refusal) => prop_assert!(words.contains(&refusal.words().len())),
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let body = Bytes::from(body);
        let _ = (AddUser::parse(body.clone()), InviteUsers::parse(body.clone()), SignIn::parse(body));
    }
}
